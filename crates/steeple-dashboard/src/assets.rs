//! The page: static files in the binary, without a build step.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use steeple_core::Hex;

/// A file of the page. Its name has a hash of its contents, so that it may be cached for good.
#[derive(Debug)]
pub(crate) struct Asset {
    /// `app-0123abcd.js`.
    pub(crate) name: String,
    pub(crate) media_type: &'static str,
    pub(crate) contents: &'static [u8],
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The files that the page loads, by the names that it has for them.
const FILES: [(&str, &str, &str, &[u8]); 7] = [
    ("icon", "svg", "image/svg+xml", include_bytes!("../assets/icon.svg")),
    ("app", "css", CSS, include_bytes!("../assets/app.css")),
    ("uPlot", "css", CSS, include_bytes!("../assets/uPlot.min.css")),
    ("uPlot", "js", JS, include_bytes!("../assets/uPlot.iife.min.js")),
    ("format", "js", JS, include_bytes!("../assets/format.js")),
    ("charts", "js", JS, include_bytes!("../assets/charts.js")),
    ("app", "js", JS, include_bytes!("../assets/app.js")),
];

const PAGE: &str = include_str!("../assets/index.html");

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let named = |(stem, extension, media_type, contents): (&str, &str, &'static str, &'static [u8])| {
        let digest: [u8; 32] = Sha256::digest(contents).into();
        let hash: [u8; 4] = digest.first_chunk().copied().unwrap_or_default();
        Asset { name: format!("{stem}-{}.{extension}", Hex::new(hash)), media_type, contents }
    };
    FILES.into_iter().map(named).collect()
});

static INDEX: LazyLock<String> = LazyLock::new(|| {
    let files = FILES.iter().zip(&*ASSETS);
    files.fold(PAGE.to_owned(), |page, ((stem, extension, ..), asset)| {
        page.replace(&format!("\"{stem}.{extension}\""), &format!("\"{}\"", asset.name))
    })
});

/// The page itself.
pub(crate) fn index() -> &'static str {
    &INDEX
}

/// The file of this name.
pub(crate) fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn sha256(bytes: &[u8]) -> String {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        Hex::new(digest).to_string()
    }

    fn gzipped(bytes: &[u8]) -> usize {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().len()
    }

    #[test]
    fn uplot_is_the_one_that_the_registry_has() {
        // `npm pack uplot@1.6.32`, whose archive has the registry's integrity
        // sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==
        let script: &[u8] = include_bytes!("../assets/uPlot.iife.min.js");
        assert_eq!(sha256(script), "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f");
        assert!(script.starts_with(b"/*! https://github.com/leeoniya/uPlot (v1.6.32) */"), "its banner");
        let style: &[u8] = include_bytes!("../assets/uPlot.min.css");
        assert_eq!(sha256(style), "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04");
        let license = include_str!("../assets/LICENSE-uPlot");
        assert!(license.contains("MIT License") && license.contains("Leon Sorokin"));
    }

    #[test]
    fn the_page_has_at_most_70_kilobytes_gzipped() {
        let sum: usize = ASSETS.iter().map(|asset| gzipped(asset.contents)).sum::<usize>() + gzipped(PAGE.as_bytes());
        assert!(sum <= 70 * 1024, "{sum} bytes");
    }

    #[test]
    fn the_page_loads_its_own_files_alone_and_makes_no_markup_from_text() {
        let index = index();
        for asset in &*ASSETS {
            assert!(index.contains(&format!("\"{}\"", asset.name)), "{}", asset.name);
            assert_eq!(find(&asset.name).unwrap().contents, asset.contents);
        }
        assert!(!index.contains("<style") && !index.contains(" style=") && !index.contains("onclick"));
        for asset in ASSETS.iter().filter(|asset| !asset.name.starts_with("uPlot")) {
            let text = str::from_utf8(asset.contents).unwrap();
            for bad in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "@import"] {
                assert!(!text.contains(bad), "{}: {bad}", asset.name);
            }
            // The one address is the name of SVG.
            let addresses = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!addresses.contains("http://") && !addresses.contains("https://"), "{}", asset.name);
        }
        assert!(find("app.js").is_none());
    }
}
