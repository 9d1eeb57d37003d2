//! The bytes of a file on the simulated disk: shared while they are equal, and hashed once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// A file's bytes. Clones share them until one is changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes(Arc<Hashed>);

#[derive(Debug, Default)]
struct Hashed {
    bytes: Vec<u8>,
    hash: OnceLock<u64>,
}

impl Clone for Hashed {
    fn clone(&self) -> Self {
        Self::from(self.bytes.clone())
    }
}

impl From<Vec<u8>> for Hashed {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, hash: OnceLock::new() }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Hashed::from(bytes)))
    }
}

impl Bytes {
    /// To be changed.
    pub(super) fn make_mut(&mut self) -> &mut Vec<u8> {
        let own = Arc::make_mut(&mut self.0);
        own.hash.take();
        &mut own.bytes
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || **self == **other
    }
}

impl Eq for Bytes {}

impl Hash for Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let hash = self.0.hash.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            self.0.bytes.hash(&mut hasher);
            hasher.finish()
        });
        hash.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(bytes: &Bytes) -> u64 {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn a_change_is_of_one_clone_alone_and_its_hash_is_another() {
        let before = Bytes::from(vec![1, 2, 3]);
        let old = hash(&before);
        let mut after = before.clone();
        assert_eq!((&after, hash(&after)), (&before, old));
        after.make_mut()[0] = 9;
        assert_eq!((&*before, hash(&before)), (&[1, 2, 3][..], old));
        assert_ne!(hash(&after), old);
        after.make_mut()[0] = 1;
        assert_eq!((&after, hash(&after)), (&before, old));
    }
}
