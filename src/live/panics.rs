//! What a panic means: the end of the process, at once, with its message.
//!
//! Half of a process that goes on is worse than none: it would be ready and analyze nothing. So a panic
//! on any thread or task is logged and ends the process, whether it was built to unwind or not, and
//! whoever supervises it starts it again. Only for the program: tests and embedders keep their own hook.

use std::backtrace::Backtrace;
use std::panic::{PanicHookInfo, set_hook};
use std::process::abort;

use tracing::error;

/// Has every panic of the process end it.
pub fn end_the_process() {
    set_hook(Box::new(|panic| {
        error!(
            thread = std::thread::current().name().unwrap_or("unnamed"),
            place = panic.location().map(ToString::to_string),
            backtrace = %Backtrace::capture(),
            "panic: {}; this is a bug in laghound, and the process ends",
            message(panic)
        );
        abort();
    }));
}

fn message<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref().map(String::as_str)).unwrap_or("without a message")
}
