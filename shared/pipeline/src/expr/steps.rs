//! Bounds the evaluation of an expression: CEL itself has no limit on loops or on the size of texts.

use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};

use cel::common::types::Type;
use cel::common::value::{StaticVal, Val};

/// Steps of one evaluation: tests of a list's elements, parts of a split text, and each [`TEXT_STEP`]
/// bytes of the columns' texts. A cell that fills Excel's 32,767 characters can be split into
/// characters and tested 30 times.
pub(super) const STEPS_MAX: u32 = 1_000_000;
/// Bytes of text that count as a step: all columns' texts together are 256 MiB at most.
pub(super) const TEXT_STEP: usize = 256;
/// The longest text that an expression or a template makes, in bytes. A cell holds 32,767 characters;
/// the body of a request may need more.
pub(crate) const TEXT_MAX: usize = 10 * 1024 * 1024;

/// The variable with the steps, which the rewriter passes to functions that need some.
pub(super) const STEPS: &str = "@steps";
/// The type of [`STEPS`].
pub(super) const STEPS_TYPE: Type = Type::new_unspecified_type("steps");
static TYPE: Type = STEPS_TYPE;

/// The steps that are left in an evaluation.
#[derive(Debug)]
pub(super) struct Steps(AtomicU32);

impl Steps {
    pub(super) fn new() -> Steps {
        Steps(AtomicU32::new(STEPS_MAX))
    }

    /// Takes this many steps. `false`: there are not enough, from now on.
    pub(super) fn take(&self, count: usize) -> bool {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(count)
            });
        if taken.is_err() {
            self.0.store(0, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// Whether there were not enough.
    pub(super) fn are_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Starts again.
    pub(super) fn reset(&self) {
        self.0.store(STEPS_MAX, Ordering::Relaxed);
    }
}

impl Val for Steps {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(Steps(AtomicU32::new(self.0.load(Ordering::Relaxed))))
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Steps {}

/// The reason for an evaluation without steps left.
pub(super) fn spent() -> String {
    format!(
        "the expression takes more than {STEPS_MAX} steps; shorten the lists or texts that it tests"
    )
}

/// The reason for a text that is too long.
pub(crate) fn too_long() -> String {
    let mib = TEXT_MAX / (1024 * 1024);
    format!("the text becomes longer than {mib} MiB")
}
