//! Symbols in the root objects, and the rule for members' names.

/// The root's entry point: its function's name in the object and the program's name in the kernel.
pub const ROOT_PROGRAM: &str = "dispatcher";
/// The same of the roots that can't tail-call.
pub const EXT_ROOT_PROGRAM: &str = "dispatcher_ext";
/// The root's program array: slot *i*'s member is at index *i*.
pub const JUMP_MAP: &str = "JUMP";
/// The root's per-CPU array with one element, [`Counters`](crate::Counters).
pub const COUNTERS_MAP: &str = "COUNTERS";
/// The root's read-only global, [`RootConfig`](crate::RootConfig).
pub const CONFIG_SYMBOL: &str = "CONFIG";

/// The built-in member that gives packets to `AF_XDP` sockets. Nobody else's may be called this.
pub const REDIRECT_MEMBER: &str = "xsk-redirect";
/// Its function's name in the object.
pub const REDIRECT_PROGRAM: &str = "xsk_redirect";
/// Its map of sockets, by receive queue.
pub const SOCKETS_MAP: &str = "XSKS";
/// Its map of the sockets' owners, [`SocketClaim`](crate::SocketClaim)s by receive queue.
pub const CLAIMS_MAP: &str = "CLAIMS";

/// The longest name of a member, in bytes.
pub const MEMBER_NAME_BYTES_MAX: usize = 63;

/// Whether a member may be called this: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
pub fn is_member_name(name: &str) -> bool {
    name.len() <= MEMBER_NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_words() {
        for good in ["a", "9", "stats", "fire-wall_2.o", REDIRECT_MEMBER] {
            assert!(is_member_name(good), "{good}");
        }
        for bad in ["", ".", "-a", "_a", "a/b", "a b", "a\n", "ä", "a\u{1b}[2J"] {
            assert!(!is_member_name(bad), "{bad:?}");
        }
        let longest = [b'a'; MEMBER_NAME_BYTES_MAX + 1];
        let longest = core::str::from_utf8(&longest).unwrap();
        assert!(is_member_name(&longest[1..]));
        assert!(!is_member_name(longest));
    }
}
