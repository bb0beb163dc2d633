//! Links in the documentation and in the alerts.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Every file that a page links to exists, and every anchor in a page or an alert is a heading.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let anchors = |page: &str| -> BTreeSet<String> {
        // Between two fences is code, where `#` begins a comment.
        let text = page.split("\n```").step_by(2);
        let headings = text
            .flat_map(str::lines)
            .filter(|line| line.starts_with('#'))
            .map(|line| line.trim_start_matches('#').trim());
        headings
            .map(|heading| {
                let kept = heading.to_lowercase();
                kept.chars()
                    .filter(|c| c.is_alphanumeric() || "- _".contains(*c))
                    .collect::<String>()
                    .replace(' ', "-")
            })
            .collect()
    };
    let mut links = Vec::new();
    for path in pages(root) {
        let text = read(&path);
        links.extend(
            text.split("](")
                .skip(1)
                .map(|rest| (path.clone(), rest.split(')').next().unwrap().to_owned())),
        );
    }
    let alerts = read(&root.join("deploy/prometheus/alerts.yml"));
    let runbooks = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook: "));
    links.extend(runbooks.map(|target| (root.join("alerts"), target.to_owned())));
    assert!(links.len() > 200, "only {} links were found", links.len());
    for (page, target) in links
        .into_iter()
        .filter(|(_, target)| !target.starts_with("http"))
    {
        let (file, anchor) = target
            .split_once('#')
            .map_or((target.as_str(), None), |(file, anchor)| {
                (file, Some(anchor))
            });
        let file = if file.is_empty() {
            page.clone()
        } else {
            page.with_file_name(file)
        };
        assert!(file.exists(), "{} points to {target}", page.display());
        if let Some(anchor) = anchor {
            assert!(
                anchors(&read(&file)).contains(anchor),
                "{} points to {target}",
                page.display()
            );
        }
    }
}

/// All pages, wherever they are.
fn pages(root: &Path) -> Vec<PathBuf> {
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let folders = [
        "",
        "docs",
        "docs/decisions",
        "docs/guides",
        "docs/upstream",
        ".github",
        "api/src",
        "examples",
    ];
    let files = folders.iter().flat_map(|folder| {
        let entries = std::fs::read_dir(root.join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path())
    });
    files.filter(is_page).collect()
}
