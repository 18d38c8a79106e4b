//! Writes the dispatcher's object, which libxdp embeds, to the file that is named.

use std::{env, fs, io, slice};

// For the library, whose symbols these are.
use libxdp_sys as _;

unsafe extern "C" {
    #[link_name = "_binary_xdp_dispatcher_o_start"]
    static START: u8;
    #[link_name = "_binary_xdp_dispatcher_o_end"]
    static END: u8;
}

fn main() -> io::Result<()> {
    let file = env::args_os().nth(1).ok_or(io::ErrorKind::InvalidInput)?;
    let (start, end) = (&raw const START, &raw const END);
    // SAFETY: the linker puts both at the ends of the same bytes.
    let object = unsafe {
        let length = end.offset_from(start);
        slice::from_raw_parts(start, usize::try_from(length).expect("START is first"))
    };
    fs::write(file, object)
}
