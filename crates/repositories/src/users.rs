//! Names of users, which the library looks up for every file it copies.

/// From now on only /etc/passwd and /etc/group are asked. What else nsswitch.conf(5) names is a library that glibc loads at
/// run time, and a static binary crashes over it. Restores go by number.
#[cfg(target_env = "gnu")]
pub fn from_files_only() {
    #[expect(unsafe_code, reason = "glibc has no other way to say it, and no crate wraps it")]
    {
        unsafe extern "C" {
            fn __nss_configure_lookup(database: *const std::ffi::c_char, service: *const std::ffi::c_char) -> i32;
        }
        for database in [c"passwd", c"group"] {
            // SAFETY: both are strings that end with NUL and live for ever.
            unsafe { __nss_configure_lookup(database.as_ptr(), c"files".as_ptr()) };
        }
    }
}

/// Only glibc loads libraries for it.
#[cfg(not(target_env = "gnu"))]
pub fn from_files_only() {}
