//! The maximum number of open files and connections of a process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit for lap's daemons. They limit their connections to much smaller numbers.
pub const ENOUGH: u64 = 65_536;

/// Raises this process' soft limit to [`ENOUGH`], or to its hard limit if that is lower. A higher soft limit is kept,
/// because child processes inherit it. Many systems start with 1024, for programs that use `select(2)`. lap does not
/// use it.
///
/// # Errors
/// The kernel refuses the new limit.
pub fn raise() -> std::io::Result<()> {
    match raised(getrlimit(Resource::Nofile)) {
        Some(limit) => Ok(setrlimit(Resource::Nofile, limit)?),
        None => Ok(()),
    }
}

/// Returns the new limit, or `None` if the present one is high enough. Inside an `Rlimit`, `None` means "unlimited".
fn raised(limit: Rlimit) -> Option<Rlimit> {
    let wanted = limit.maximum.map_or(ENOUGH, |hard| hard.min(ENOUGH));
    limit.current.is_some_and(|soft| soft < wanted).then_some(Rlimit { current: Some(wanted), maximum: limit.maximum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_and_never_lowered() {
        let soft = |current, maximum| raised(Rlimit { current, maximum }).and_then(|limit| limit.current);
        assert_eq!(soft(Some(1024), Some(524_288)), Some(65_536));
        assert_eq!(soft(Some(1024), Some(4096)), Some(4096));
        assert_eq!(soft(Some(1024), None), Some(65_536));
        assert_eq!(soft(Some(1_048_576), Some(1_048_576)), None);
        assert_eq!(soft(None, None), None);
        assert_eq!(soft(Some(4096), Some(4096)), None);
        raise().unwrap();
    }
}
