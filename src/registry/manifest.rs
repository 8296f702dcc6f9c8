//! What an image is made of, as its manifest says.

use lap_base::error::{Error, Kind, OrError, Result};
use serde::Deserialize;

use super::name::Digest;

/// What is asked for: anything that names its parts by digest.
pub const KINDS: [&str; 4] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
];
/// Registries take no larger one (the distribution registry: 4 MiB).
pub const MOST: usize = 4 << 20;
/// Blobs one manifest may name: no image has that many, and each costs requests.
const MOST_PARTS: usize = 10_000;

/// A part of an image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Descriptor {
    pub digest: Digest,
    pub size: u64,
    /// Where else it may be got from: then a registry need not have it.
    #[serde(default)]
    urls: Vec<String>,
}

/// What a manifest names.
#[derive(Debug, PartialEq, Eq)]
pub enum ImageManifest {
    /// One image: its config and layers.
    Image(Vec<Descriptor>),
    /// Manifests, one a platform.
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default, rename = "schemaVersion")]
    schema: u32,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
}

/// Reads a manifest.
///
/// # Errors
/// It is none that names its parts by digest.
pub fn read(digest: &Digest, bytes: &[u8]) -> Result<ImageManifest> {
    let what = || format!("the manifest {} is not an image's", digest.short());
    let raw: Raw = serde_json::from_slice(bytes).or_error(Kind::Node, what)?;
    let mut manifest = match raw {
        Raw { schema: 2, config: Some(config), mut layers, manifests: None } => {
            layers.push(config);
            ImageManifest::Image(layers)
        }
        Raw { schema: 2, config: None, manifests: Some(manifests), .. } => ImageManifest::Index(manifests),
        Raw { schema, .. } => return Err(Error::new(Kind::Node, format!("{} (schema {schema})", what()))),
    };
    let (ImageManifest::Image(parts) | ImageManifest::Index(parts)) = &mut manifest;
    if parts.len() > MOST_PARTS {
        return Err(Error::new(Kind::Refused, format!("{}: it has {} parts", what(), parts.len())));
    }
    parts.retain(|part| part.urls.is_empty());
    // An empty layer stands in an image more than once.
    parts.sort_by(|a, b| a.digest.cmp(&b.digest));
    parts.dedup();
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(digit: char, more: &str) -> String {
        format!(r#"{{"digest":"sha256:{}","size":7{more}}}"#, digit.to_string().repeat(64))
    }

    #[test]
    fn images_and_indexes() {
        let (a, b, c) = (part('a', ""), part('b', ""), part('c', r#","urls":["https://example.org/x"]"#));
        let digest = Digest::of(b"");
        let image = format!(r#"{{"schemaVersion":2,"config":{b},"layers":[{c},{a},{a}]}}"#);
        let ImageManifest::Image(parts) = read(&digest, image.as_bytes()).unwrap() else { panic!("an image") };
        assert_eq!(parts.iter().map(|part| &part.digest.hex()[..1]).collect::<Vec<_>>(), ["a", "b"]);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{b}]}}"#);
        assert!(matches!(read(&digest, index.as_bytes()).unwrap(), ImageManifest::Index(parts) if parts.len() == 1));
        for bad in
            [r#"{"schemaVersion":1,"fsLayers":[]}"#, "", "[]", &format!(r#"{{"schemaVersion":2,"layers":[{a}]}}"#)]
        {
            assert!(read(&digest, bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
