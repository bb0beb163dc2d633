//! The files of the page: plain, or compressed for clients that accept gzip.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use poem::{
    Request, Response, ResponseBuilder,
    http::header::{self, HeaderMap},
};
use sha2::{Digest, Sha256};

macro_rules! files {
    ($($name:literal $content_type:literal;)*) => {
        /// Names, content types and contents of the files.
        const FILES: &[(&str, &str, &[u8])] = &[
            $(($name, $content_type, include_bytes!(concat!("assets/", $name))),)*
        ];
    };
}

files! {
    "icon.svg" "image/svg+xml";
    "style.css" "text/css; charset=utf-8";
    "actions.js" "text/javascript; charset=utf-8";
    "api.js" "text/javascript; charset=utf-8";
    "card.js" "text/javascript; charset=utf-8";
    "clock.js" "text/javascript; charset=utf-8";
    "composer.js" "text/javascript; charset=utf-8";
    "dom.js" "text/javascript; charset=utf-8";
    "frame.js" "text/javascript; charset=utf-8";
    "job.js" "text/javascript; charset=utf-8";
    "jobs.js" "text/javascript; charset=utf-8";
    "main.js" "text/javascript; charset=utf-8";
    "sheet.js" "text/javascript; charset=utf-8";
    "storage.js" "text/javascript; charset=utf-8";
    "system.js" "text/javascript; charset=utf-8";
    "thumbhash.js" "text/javascript; charset=utf-8";
    "waterfall.js" "text/javascript; charset=utf-8";
    "words.js" "text/javascript; charset=utf-8";
}

const SCRIPT: &str = "text/javascript";

/// Template of the two URLs of the page, with placeholders for what differs.
const SHELL: &str = include_str!("assets/index.html");

/// Hexadecimal digits of a version.
const VERSION: usize = 16;

/// All files of the page.
pub(crate) struct Assets {
    /// Digest of all files.
    pub(super) version: String,
    pub(super) home: Asset,
    pub(super) job: Asset,
    files: Vec<(&'static str, Asset)>,
}

impl Assets {
    /// Compresses the files.
    pub(crate) fn new() -> Self {
        let digest = FILES.iter().fold(Sha256::new(), |digest, (_, _, bytes)| {
            digest.chain_update(bytes)
        });
        let mut version = hex::encode(digest.finalize());
        version.truncate(VERSION);
        let files = FILES.iter().map(|(name, content_type, bytes)| {
            (*name, Asset::new(content_type, Bytes::from_static(bytes)))
        });
        Self {
            home: shell("", &version),
            job: shell("../", &version),
            files: files.collect(),
            version,
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<&Asset> {
        let found = self.files.iter().find(|(known, _)| *known == name);
        found.map(|(_, asset)| asset)
    }
}

/// Renders the page for a URL from which `root` leads to the root of this api, also behind a proxy
/// with a path prefix.
fn shell(root: &str, version: &str) -> Asset {
    let assets = format!("{root}assets/{version}");
    // Imported scripts are preloaded.
    let modules = FILES
        .iter()
        .filter(|(name, content_type, _)| content_type.starts_with(SCRIPT) && *name != "main.js");
    let modules: Vec<_> = modules
        .map(|(name, ..)| format!("<link rel=\"modulepreload\" href=\"{assets}/{name}\">"))
        .collect();
    let html = SHELL
        .replace("{modules}", &modules.join("\n"))
        .replace("{assets}", &assets)
        .replace("{root}", if root.is_empty() { "./" } else { root })
        .replace("{version}", env!("CARGO_PKG_VERSION"));
    Asset::new("text/html; charset=utf-8", html.into())
}

/// File of the page.
pub(super) struct Asset {
    content_type: &'static str,
    plain: Bytes,
    compressed: Bytes,
}

impl Asset {
    fn new(content_type: &'static str, plain: Bytes) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Writing into memory does not fail; the test below would notice missing bytes.
        let _ = encoder.write_all(&plain);
        let compressed = encoder.finish().unwrap_or_default().into();
        Self {
            content_type,
            plain,
            compressed,
        }
    }

    /// Begins a response with the headers of the file.
    pub(super) fn answer(&self, request: &Request) -> ResponseBuilder {
        let response = Response::builder()
            .content_type(self.content_type)
            .header(header::VARY, "accept-encoding");
        if takes_gzip(request.headers()) {
            response.header(header::CONTENT_ENCODING, "gzip")
        } else {
            response
        }
    }

    pub(super) fn body(&self, request: &Request) -> Bytes {
        if takes_gzip(request.headers()) {
            self.compressed.clone()
        } else {
            self.plain.clone()
        }
    }
}

/// Returns true if the client accepts gzip. <https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3>
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().trim_start_matches("q=");
        name.trim().eq_ignore_ascii_case("gzip") && weight.parse() != Ok(0.0)
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, path::Path};

    use flate2::read::GzDecoder;

    use super::*;

    /// Size limit of all files together as they are sent, in bytes.
    const BUDGET: usize = 60 * 1024;

    #[test]
    fn the_page_is_small_and_decompresses() {
        let assets = Assets::new();
        let mut sent = 0;
        for (name, asset) in &assets.files {
            let mut plain = Vec::new();
            GzDecoder::new(&*asset.compressed)
                .read_to_end(&mut plain)
                .unwrap();
            assert_eq!(plain, asset.plain, "{name}");
            sent += asset.compressed.len();
        }
        assert!(sent <= BUDGET, "{sent} bytes");
    }

    #[test]
    fn every_file_is_served() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page/assets");
        for entry in fs::read_dir(directory).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_known = name == "index.html" || FILES.iter().any(|(known, ..)| *known == name);
            assert!(is_known, "{name}");
        }
    }

    #[test]
    fn addresses_are_relative() {
        let assets = Assets::new();
        let text = |asset: &Asset| String::from_utf8(asset.plain.to_vec()).unwrap();
        assert!(text(&assets.home).contains(&format!("src=\"assets/{}/main.js\"", assets.version)));
        assert!(text(&assets.job).contains("src=\"../assets/"));
        assert!(text(&assets.job).contains("href=\"../docs/\""));
        assert!(!text(&assets.home).contains('{'), "a place is left");
    }

    #[test]
    fn gzip_is_sent_only_if_accepted() {
        for (accepted, expected) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("br", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, accepted.parse().unwrap());
            assert_eq!(takes_gzip(&headers), expected, "{accepted}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
