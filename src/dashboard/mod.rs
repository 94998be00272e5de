//! The web dashboard's files, in the binary.
//!
//! They are static: HTML, CSS, ES modules and catalogues of words below `assets/`, which speak to the
//! public API only. `index.html` names the others below a prefix that stands for the content of all of
//! them, so that they can be kept for ever and still change with the binary. A debug build reads the
//! files from the source folder, anew whenever the page itself is asked for.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use parking_lot::RwLock;
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

/// What the page is called among the files.
const PAGE: &str = "index.html";
/// How the page names other files.
const REFERENCE: &str = "\"/assets/";

#[derive(RustEmbed)]
#[folder = "src/dashboard/assets/"]
struct Files;

/// One file, as it is sent.
#[derive(Debug)]
pub struct Asset {
    pub content_type: &'static str,
    /// An entity tag; weak, as it names the packed bytes, too.
    pub tag: String,
    pub bytes: Bytes,
    packed: OnceLock<Bytes>,
}

impl Asset {
    fn new(path: &str, bytes: Bytes) -> Self {
        let tag = format!("W/\"{}\"", digest([&bytes[..]]));
        Self { content_type: content_type(path), tag, bytes, packed: OnceLock::new() }
    }

    /// Packed with gzip, once; `None` where that makes it no smaller.
    pub fn packed(&self) -> Option<Bytes> {
        let packed = self.packed.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            let written = encoder.write_all(&self.bytes).and_then(|()| encoder.finish());
            written.unwrap_or_default().into()
        });
        let is_smaller = !packed.is_empty() && packed.len() < self.bytes.len();
        is_smaller.then(|| packed.clone())
    }
}

/// A file, and whether what it was asked by stays the same as long as the file does.
#[derive(Debug, Clone)]
pub struct Found {
    pub asset: Arc<Asset>,
    pub is_lasting: bool,
}

/// All files of one moment.
#[derive(Debug)]
struct Assets {
    files: BTreeMap<String, Arc<Asset>>,
    /// Stands for the content of all of them.
    version: String,
}

impl Assets {
    fn new(files: impl IntoIterator<Item = (String, Bytes)>) -> Self {
        let mut files: BTreeMap<_, _> = files.into_iter().collect();
        let parts = files.iter().flat_map(|(path, bytes)| [path.as_bytes(), &bytes[..]]);
        let version = format!("v-{}", digest(parts));
        if let Some(page) = files.get_mut(PAGE) {
            let text = String::from_utf8_lossy(page);
            *page = text.replace(REFERENCE, &format!("{REFERENCE}{version}/")).into();
        }
        let made = |(path, bytes): (String, Bytes)| {
            let asset = Asset::new(&path, bytes);
            (path, Arc::new(asset))
        };
        Self { files: files.into_iter().map(made).collect(), version }
    }

    fn embedded() -> Self {
        Self::new(Files::iter().filter_map(|path| {
            let bytes = match Files::get(&path)?.data {
                std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                std::borrow::Cow::Owned(bytes) => bytes.into(),
            };
            Some((path.into_owned(), bytes))
        }))
    }

    fn find(&self, path: &str) -> Option<Found> {
        // A page that was loaded from an earlier version may still ask by that one's prefix.
        let (prefix, rest) = match path.split_once('/') {
            Some((prefix, rest)) if prefix.starts_with("v-") => (Some(prefix), rest),
            _ => (None, path),
        };
        let asset = self.files.get(rest).filter(|_| rest != PAGE)?.clone();
        Some(Found { asset, is_lasting: prefix == Some(&self.version) })
    }
}

/// The files that are served.
#[derive(Debug)]
pub struct Dashboard {
    assets: RwLock<Arc<Assets>>,
    /// The files are those of the source folder, which somebody may be working on.
    is_debug: bool,
}

impl Default for Dashboard {
    fn default() -> Self {
        let assets = RwLock::new(Arc::new(Assets::embedded()));
        Self { assets, is_debug: cfg!(debug_assertions) }
    }
}

impl Dashboard {
    /// The page itself.
    pub fn page(&self) -> Option<Found> {
        if self.is_debug {
            *self.assets.write() = Arc::new(Assets::embedded());
        }
        let asset = self.assets.read().files.get(PAGE)?.clone();
        Some(Found { asset, is_lasting: false })
    }

    /// What stands below `/assets/`.
    pub fn find(&self, path: &str) -> Option<Found> {
        self.assets.read().find(path)
    }
}

/// The first half of SHA-256 over the parts and their lengths, in hexadecimal.
fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn content_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json; charset=utf-8",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn assets(script: &str) -> Assets {
        let page = r#"<script type="module" src="/assets/app.js"></script>"#;
        let files = [(PAGE, page), ("app.js", script), ("words/en.json", "{}")];
        Assets::new(files.map(|(path, text)| (path.to_owned(), text.to_owned().into())))
    }

    #[test]
    fn the_page_names_files_by_a_prefix_that_changes_with_any_of_them() {
        let (one, other) = (assets("one"), assets("other"));
        assert_ne!(one.version, other.version);
        let page = one.files[PAGE].bytes.clone();
        let page = std::str::from_utf8(&page).unwrap();
        assert!(page.contains(&format!("src=\"/assets/{}/app.js\"", one.version)), "{page}");
        assert_ne!(one.files[PAGE].tag, other.files[PAGE].tag);
        assert_eq!(one.files["words/en.json"].tag, other.files["words/en.json"].tag);
    }

    #[test]
    fn only_what_the_prefix_names_lasts() {
        let assets = assets("one");
        for (path, is_lasting) in [
            (format!("{}/app.js", assets.version), Some(true)),
            (format!("{}/words/en.json", assets.version), Some(true)),
            ("v-0123/app.js".to_owned(), Some(false)),
            ("app.js".to_owned(), Some(false)),
            ("words/en.json".to_owned(), Some(false)),
            (PAGE.to_owned(), None),
            (format!("{}/{PAGE}", assets.version), None),
            ("../mod.rs".to_owned(), None),
            (format!("{}/../../mod.rs", assets.version), None),
            (String::new(), None),
        ] {
            assert_eq!(assets.find(&path).map(|found| found.is_lasting), is_lasting, "{path}");
        }
    }

    #[test]
    fn what_is_packed_is_smaller_and_unpacks_the_same() {
        let asset = Asset::new("app.js", "let a = 1;\n".repeat(200).into());
        let mut text = Vec::new();
        let packed = asset.packed().unwrap();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, &asset.bytes[..]);
        assert!(packed.len() < text.len());
        assert_eq!(Asset::new("a.txt", Bytes::from_static(b"x")).packed(), None);
    }

    /// The policy of the page allows neither, and an absolute name would load a module twice.
    #[test]
    fn files_keep_to_the_rules_of_the_folder() {
        let assets = Assets::embedded();
        assert!(assets.files.contains_key(PAGE));
        for (path, asset) in &assets.files {
            assert_ne!(asset.content_type, "application/octet-stream", "{path}: unknown kind");
            let text = String::from_utf8_lossy(&asset.bytes);
            if path.ends_with(".html") {
                assert!(
                    !text.contains(" style=") && !text.contains("<style"),
                    "{path}: inline style"
                );
                assert!(
                    !text.contains("<script>") && !text.contains(" onclick="),
                    "{path}: inline script"
                );
            } else {
                assert!(!text.contains("/assets/"), "{path}: name files relative to this one");
            }
        }
    }
}
