//! What the fuzz targets run: sockets' halves over rings whose other side writes anything at any
//! time.
//!
//! The rings are private to this crate, so this is here and not in `fuzz/`. It is compiled for fuzz
//! targets, for which cargo-fuzz sets `--cfg fuzzing`, and for the tests, which run it on random
//! bytes.

mod application;
mod memory;
mod plain;

use arbitrary::Arbitrary;

use self::application::{Application, Step};
use self::memory::{Hostile, Script};
pub(super) use self::plain::Plain;
use super::{Umem, UmemBuilder};

/// Two sockets on one UMEM do what the bytes say, as long as there are any, and so does whoever has
/// their rings mapped as well.
///
/// # Panics
///
/// If the data path does, or a frame has two owners or none, or bytes of a frame changed while it
/// was somebody's.
pub fn rings(bytes: &[u8]) {
    let script = Script::new(bytes);
    let Some(setup) = script.next::<Setup>() else {
        return;
    };
    let umem = setup.umem().build().expect("the layout is right");
    let rings: [_; 8] = std::array::from_fn(|ring| {
        // FILL, COMPLETION, RX, TX of one socket, and of the other.
        let words = if ring % 4 < 2 { 1 } else { 2 };
        let size = 1 << (setup.sizes[ring] % 5);
        Hostile::new(&script, *umem.layout(), size, words, setup.start)
    });
    let mut application = Application::new(&umem, &rings, setup.beside);
    while let Some(step) = script.next::<Step>() {
        application.step(step);
        application.check();
    }
    application.end();
}

#[derive(Arbitrary, Debug)]
struct Setup {
    frames: u8,
    shape: u8,
    /// Whether the sockets share FILL and COMPLETION, or each has its own.
    beside: bool,
    sizes: [u8; 8],
    start: u32,
}

impl Setup {
    fn umem(&self) -> UmemBuilder {
        let (frame_size, headroom, unaligned) = match self.shape % 4 {
            0 => (2048, 0, false),
            1 => (2048, 64, false),
            2 => (4096, 100, false),
            _ => (3000, 64, true),
        };
        Umem::builder()
            .frames(u32::from(self.frames % 24) + 1)
            .frame_size(frame_size)
            .headroom(headroom)
            .unaligned(unaligned)
    }
}
