//! A test acts in the instant after a file got its name and before the disk has it.

use std::{cell::RefCell, path::Path};

type Hook = Box<dyn Fn(&Path)>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// From now on `hook` runs on this thread after each rename of [`crate::durable`], with the new name.
pub fn at_rename(hook: impl Fn(&Path) + 'static) {
    HOOK.set(Some(Box::new(hook)));
}

pub(crate) fn renamed(to: &Path) {
    if let Some(hook) = HOOK.take() {
        hook(to);
        HOOK.set(Some(hook));
    }
}
