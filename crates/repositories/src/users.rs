//! The user names that rustic_core looks up for every file that it copies.

/// Restricts glibc to /etc/passwd and /etc/group. For the other services in nsswitch.conf(5), glibc loads libraries at
/// run time, and this crashes a static binary. Restores use numeric ids.
#[cfg(target_env = "gnu")]
pub fn from_files_only() {
    #[expect(unsafe_code, reason = "glibc has no other way to say it, and no crate wraps it")]
    {
        unsafe extern "C" {
            fn __nss_configure_lookup(database: *const std::ffi::c_char, service: *const std::ffi::c_char) -> i32;
        }
        for database in [c"passwd", c"group"] {
            // SAFETY: both strings end with NUL and are static.
            unsafe { __nss_configure_lookup(database.as_ptr(), c"files".as_ptr()) };
        }
    }
}

/// Other C libraries do not load libraries for names.
#[cfg(not(target_env = "gnu"))]
pub fn from_files_only() {}
