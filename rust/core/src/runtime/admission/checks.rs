//! What is checked of a task without a look at its worker: its names, its delays, its retries.

use crate::model::Fault;
use crate::model::spec::RetrySpec;

/// An id or a tag is at most this long, in bytes.
const NAME_BYTES_MAX: usize = 512;

/// No wait is longer than this (10 years), so that no sum of times overflows.
const WAIT_MAX_MS: i64 = 10 * 366 * 24 * 60 * 60 * 1000;

/// More retries than anybody waits for.
const RETRIES_MAX: u32 = 10_000;

/// Beyond it the longest wait is reached with the next retry anyway.
const MULTIPLIER_MAX: f64 = 100.0;

/// An id or a tag.
pub(super) fn name(argument: &str, name: Option<&str>) -> Result<(), Fault> {
    let Some(name) = name else { return Ok(()) };
    if name.is_empty() {
        let message = match argument {
            "task_id" => "is empty; leave it out to have one made",
            _ => "is empty; leave it out for none",
        };
        return Err(Fault::invalid(argument, message));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Fault::invalid(
            argument,
            format!("is longer than {NAME_BYTES_MAX} bytes; shorten it"),
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(Fault::invalid(argument, "holds a control character; take it out"));
    }
    if argument == "task_id" && crate::model::task_id::key_of_generated_id(name).is_some() {
        return Err(Fault::invalid(
            argument,
            "looks like an id that outhaul makes (oh_ and 13 digits); choose another",
        ));
    }
    Ok(())
}

/// How long a task waits before its first attempt, in milliseconds.
pub(super) fn delay(delay_ms: i64) -> Result<(), Fault> {
    if (0..=WAIT_MAX_MS).contains(&delay_ms) {
        return Ok(());
    }
    Err(Fault::invalid("trigger", "initial_delay must be between 0 and 10 years"))
}

/// How often and after which delays it is tried again.
pub(super) fn retry(retry: &RetrySpec) -> Result<(), Fault> {
    let waits = [retry.initial_delay_ms, retry.max_delay_ms];
    if waits.iter().any(|wait| !(0..=WAIT_MAX_MS).contains(wait)) {
        return Err(Fault::invalid("retry", "its delays must be between 0 and 10 years"));
    }
    if retry.max_delay_ms < retry.initial_delay_ms {
        return Err(Fault::invalid("retry", "max_delay must be at least initial_delay"));
    }
    if !(1.0..=MULTIPLIER_MAX).contains(&retry.multiplier) {
        let message = format!("multiplier must be between 1 and {MULTIPLIER_MAX}");
        return Err(Fault::invalid("retry", message));
    }
    if retry.max_retries > RETRIES_MAX {
        let message = format!("max_retries must be at most {RETRIES_MAX}");
        return Err(Fault::invalid("retry", message));
    }
    Ok(())
}
