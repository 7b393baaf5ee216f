//! How a caller stops a running fit.

use crate::error::{Error, Result};

/// Asked from the calling thread at least once an iteration; `true` ends the work with [`Error::Interrupted`].
pub type Interrupt<'a> = dyn FnMut() -> bool + 'a;

pub(crate) fn check(interrupt: &mut Interrupt<'_>) -> Result<()> {
    if interrupt() {
        Err(Error::Interrupted)
    } else {
        Ok(())
    }
}
