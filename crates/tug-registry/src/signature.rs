//! cosign's signatures by key: a manifest beside the image, under the tag `sha256-<hex>.sig`, whose
//! layers are statements about a digest ("simple signing"), each with its signature as an
//! annotation.
//!
//! Nothing of what is read here is believed before a key has been found to fit: a mirror may serve
//! what it likes.

use crate::base64;
use crate::blob::BlobStream;
use crate::client::Client;
use crate::endpoint::Source;
use crate::error::Error;
use crate::manifest::{Descriptor, Manifest};
use crate::policy::{Demand, Identity};
use crate::resolve::{Resolved, Resolver};
use crate::transport::Transport;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use serde::Deserialize;
use std::sync::Arc;
use tug_types::{Digest, ImageReference};

const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// A statement is some hundred bytes.
const LARGEST_PAYLOAD: u64 = 64 << 10;
/// More signatures than this are not looked at.
const MOST: usize = 100;

/// A public key that signs images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// ECDSA on P-256: cosign's own kind. The uncompressed point.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// What a signature says.
#[derive(Deserialize)]
struct Statement {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: NamedAs,
    image: Image,
}

#[derive(Deserialize)]
struct NamedAs {
    #[serde(rename = "docker-reference", default)]
    docker_reference: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    docker_manifest_digest: Digest,
}

impl Key {
    /// The keys of a PEM file; other things in it are passed over.
    pub(crate) fn read_all(pem: &str) -> Vec<Self> {
        const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
        const END: &str = "-----END PUBLIC KEY-----";
        let blocks = pem.split(BEGIN).skip(1).filter_map(|rest| rest.split_once(END));
        blocks.filter_map(|(text, _)| Self::from_der(&base64::decode(text)?)).collect()
    }

    /// A SubjectPublicKeyInfo (RFC 5280). Of the two kinds there is one way each to write it.
    fn from_der(der: &[u8]) -> Option<Self> {
        const P256: &[u8] = &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        const ED25519: &[u8] =
            &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        let point = der.strip_prefix(P256).filter(|point| point.len() == 65 && point[0] == 4);
        let flat = der.strip_prefix(ED25519).filter(|key| key.len() == 32);
        point
            .map(|point| Self::P256(point.to_vec()))
            .or(flat.map(|key| Self::Ed25519(key.to_vec())))
    }

    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        };
        verified.is_ok()
    }
}

impl Demand {
    /// Why a signature is not one that is demanded; `Ok` when it is.
    fn accepts(
        &self,
        payload: &[u8],
        signature: &[u8],
        image: &ImageReference,
        digests: &[Digest],
    ) -> Result<(), String> {
        if !self.keys.iter().any(|key| key.has_signed(payload, signature)) {
            return Err("made with another key".to_owned());
        }
        let statement: Statement = serde_json::from_slice(payload)
            .map_err(|error| format!("signed, but no statement about an image: {error}"))?;
        let Critical { identity, image: signed } = statement.critical;
        if !digests.contains(&signed.docker_manifest_digest) {
            return Err(format!("for another image, {}", signed.docker_manifest_digest));
        }
        let named = ImageReference::parse(&identity.docker_reference);
        let own = named.is_ok_and(|named| named.name() == image.name());
        if self.identity == Identity::Repository && !own {
            return Err(format!("for another repository, {:?}", identity.docker_reference));
        }
        Ok(())
    }
}

impl Client {
    /// Whether the policies demand signatures of an image.
    ///
    /// # Errors
    /// [`Error::PolicyRejects`] when they do not want it at all, or why a key cannot be read.
    pub fn demands_signatures(&self, reference: &ImageReference) -> Result<bool, Error> {
        Ok(!self.settings().policies.demands(reference)?.is_empty())
    }

    /// Proves that what a reference was resolved to bears the signatures the policies demand, on
    /// the index or on the manifest itself. To be asked before anything of it is unpacked.
    ///
    /// # Errors
    /// [`Error::Unsigned`], [`Error::WrongSignature`], [`Error::PolicyRejects`], or why there is no
    /// answer.
    pub fn verify(&self, reference: &ImageReference, resolved: &Resolved) -> Result<(), Error> {
        let demands = self.settings().policies.demands(reference)?;
        if demands.is_empty() {
            return Ok(());
        }
        let mut digests = vec![resolved.digest, resolved.manifest_digest];
        digests.dedup();
        let signatures = self.wait_for(collect(self.transport(), reference, &digests))?;
        for demand in &demands {
            let mut reasons = Vec::new();
            let mut accepted = false;
            for (payload, signature) in &signatures {
                match demand.accepts(payload, signature, reference, &digests) {
                    Ok(()) => accepted = true,
                    Err(reason) => reasons.push(reason),
                }
            }
            if accepted {
                continue;
            }
            let (reference, digest) = (reference.familiar(), resolved.digest);
            let policy = demand.policy.clone();
            reasons.dedup();
            return Err(match reasons.is_empty() {
                true => Error::Unsigned { reference, digest, policy },
                false => {
                    Error::WrongSignature { reference, digest, policy, reason: reasons.join("; ") }
                }
            });
        }
        Ok(())
    }
}

/// Every signature there is for one of the digests: the statement and the signature over it.
async fn collect(
    transport: &Arc<Transport>,
    reference: &ImageReference,
    digests: &[Digest],
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
    let mut all = Vec::new();
    for digest in digests {
        let tag = reference.with_tag(&format!("sha256-{}.sig", digest.hex()));
        let resolver = Resolver::new(transport, &tag, &|_, _| {})?;
        let Some((manifests, source)) = resolver.bare_manifests().await? else { continue };
        let [manifest] = manifests.as_slice() else { continue };
        for (layer, signature) in signed_layers(manifest) {
            all.push((payload(transport, &source, layer).await?, signature));
        }
    }
    Ok(all)
}

fn signed_layers(manifest: &Manifest) -> Vec<(&Descriptor, Vec<u8>)> {
    let signature =
        |layer: &Descriptor| base64::decode(layer.annotations.as_ref()?.get(ANNOTATION)?);
    let layers = manifest.layers.iter().take(MOST);
    let statements =
        layers.filter(|layer| layer.media_type == PAYLOAD && layer.size <= LARGEST_PAYLOAD);
    statements.filter_map(|layer| Some((layer, signature(layer)?))).collect()
}

async fn payload(
    transport: &Arc<Transport>,
    source: &Source,
    layer: &Descriptor,
) -> Result<Vec<u8>, Error> {
    let stream = BlobStream::new(transport.clone(), source, layer, Arc::new(|_| {}));
    let mut stream = stream.ok_or_else(|| Error::Address(source.repository.clone()))?;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_both_kinds_are_read_and_others_are_not() {
        let pem = "# ours\n-----BEGIN PUBLIC KEY-----\n\
            MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEkg3hdHD+Cjz6kbvXP1bLXYbiNgNP\n\
            0QDQdXmGGY/QlSeJYbQGzLK83sIc+KbVyYFYbmGXPcWY52uKQpYMXa8U3A==\n\
            -----END PUBLIC KEY-----\n-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
            -----END PUBLIC KEY-----\n-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
        let keys = Key::read_all(pem);
        assert!(matches!(keys[..], [Key::P256(_), Key::Ed25519(_)]), "{keys:?}");
        assert!(!keys[0].has_signed(b"x", b"y") && !keys[1].has_signed(b"x", &[0; 64]));
        assert!(Key::read_all("nothing").is_empty());
    }
}
