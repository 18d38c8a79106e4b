//! The random bytes by which a client is known again.

use protocol::Token;

/// Random bytes that nobody guesses.
pub(crate) fn draw() -> Token {
    let mut token = Token::default();
    let mut filled = 0;
    while filled < token.len() {
        // Fails only before the kernel's random numbers are ready, and then waits for them.
        filled +=
            rustix::rand::getrandom(&mut token[filled..], rustix::rand::GetRandomFlags::empty())
                .unwrap_or(0);
    }
    token
}
