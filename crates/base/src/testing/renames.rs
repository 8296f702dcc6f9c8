//! A hook for tests between a rename and the synchronization of its directory.

use std::{cell::RefCell, path::Path};

type Hook = Box<dyn Fn(&Path)>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Calls `hook` after each rename of [`crate::durable`] in this thread, with the new name.
pub fn at_rename(hook: impl Fn(&Path) + 'static) {
    HOOK.set(Some(Box::new(hook)));
}

pub(crate) fn renamed(to: &Path) {
    if let Some(hook) = HOOK.take() {
        hook(to);
        HOOK.set(Some(hook));
    }
}
