//! Paths that outputs are saved to, and the saving itself.

use std::{path::PathBuf, str::FromStr};

use anyhow::{Context, Result};
use darkroom_client::{
    Client,
    types::{
        object_key::ObjectKey,
        resource::{Job, Media},
        status::MediaStatus,
    },
};
use futures::{StreamExt, TryStreamExt, stream};

/// Outputs that are downloaded at a time.
const CONCURRENCY: usize = 4;

/// A path template with `{job}`, `{index}`, `{name}`, `{model}` and `{ext}`, or a directory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Destination(String);

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("must be a directory, or a path such as {job}/{index}.{ext}".to_owned());
        }
        if !text.contains('{') {
            let directory = text.trim_end_matches('/');
            return Ok(Self(format!("{directory}/{{job}}-{{index}}.{{ext}}")));
        }
        let mut rest = text;
        while let Some((_, after)) = rest.split_once('{') {
            let (place, after) = after.split_once('}').ok_or("a { has no }")?;
            if !["job", "index", "name", "model", "ext"].contains(&place) {
                return Err(format!(
                    "{{{place}}} is unknown; use {{job}}, {{index}}, {{name}}, {{model}} or {{ext}}"
                ));
            }
            rest = after;
        }
        if text.contains("{index}") {
            Ok(Self(text.to_owned()))
        } else {
            Err("must have {index}, or outputs would overwrite one another".to_owned())
        }
    }
}

impl Destination {
    /// Path of an output.
    fn of(&self, job: &Job, media: &Media) -> PathBuf {
        let key = media.s3_key.as_ref().map_or("", ObjectKey::as_str);
        let extension = key
            .rsplit_once('.')
            .map_or("bin", |(_, extension)| extension);
        let name = media.name.as_deref().unwrap_or_default();
        let path = self
            .0
            .replace("{job}", &job.job_id.to_string())
            .replace("{index}", &media.index.to_string())
            .replace("{ext}", extension)
            .replace("{model}", &plain(&job.model.to_string()))
            .replace("{name}", &plain(name));
        path.into()
    }

    /// Saves the stored outputs of a job, and calls `saved` with each path, in the order of the
    /// outputs.
    ///
    /// # Errors
    /// If an output cannot be downloaded or written. The outputs before it are saved.
    pub(super) async fn save(
        &self,
        client: &Client,
        job: &Job,
        saved: impl Fn(PathBuf) -> Result<()>,
    ) -> Result<()> {
        let media = client.all_media(job).await?;
        let stored = media
            .into_iter()
            .filter(|media| media.status == MediaStatus::Completed);
        stream::iter(stored)
            .map(async |media| {
                let path = self.of(job, &media);
                if let Some(directory) = path.parent() {
                    let shown = directory.display();
                    std::fs::create_dir_all(directory)
                        .with_context(|| format!("cannot create {shown}"))?;
                }
                client.save(&job.job_id, &media, &path).await?;
                Ok(path)
            })
            .buffered(CONCURRENCY)
            .try_for_each(async |path| saved(path))
            .await
    }
}

/// Replaces characters that could lead out of the directory: names come from the provider.
fn plain(name: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "-_".contains(character);
    let plain = name.chars();
    plain
        .map(|character| if is_plain(character) { character } else { '-' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_directory() {
        assert_eq!(plain("../../etc/passwd"), "------etc-passwd");
        assert_eq!(plain("stems[0].url"), "stems-0--url");
        assert_eq!(plain("voix_é"), "voix_é");
    }

    #[test]
    fn destinations_parse() {
        let parse = |text: &str| text.parse::<Destination>();
        assert_eq!(parse("out/").unwrap().0, "out/{job}-{index}.{ext}");
        assert_eq!(parse("/").unwrap().0, "/{job}-{index}.{ext}");
        assert!(parse("{job}/{index}.{ext}").is_ok());
        for text in ["", "{job}.png", "{index}.{type}", "{index"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
