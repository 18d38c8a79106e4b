//! Memory of huge pages.

use std::fs;

/// Huge pages that the system has more than before, until this is dropped.
pub struct HugePages {
    before: u64,
}

impl HugePages {
    const COUNT: &str = "/proc/sys/vm/nr_hugepages";

    /// Has the system set so many more aside; fails if it can't.
    pub fn set_aside(pages: u64) -> Self {
        let before = Self::count();
        let wanted = before + pages;
        fs::write(Self::COUNT, wanted.to_string()).expect("root may ask");
        let set_aside = Self { before };
        assert_eq!(
            Self::count(),
            wanted,
            "the system has so much memory in one piece"
        );
        set_aside
    }

    fn count() -> u64 {
        let count = fs::read_to_string(Self::COUNT).expect("this kernel has huge pages");
        count.trim().parse().expect("it is a number")
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        fs::write(Self::COUNT, self.before.to_string()).expect("root may give them back");
    }
}
