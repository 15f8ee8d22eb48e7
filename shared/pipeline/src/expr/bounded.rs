//! The string functions of CEL whose cost or result grows faster than their arguments, with bounds.
//! They do the same as those of the crate, which a test compares.

use cel::common::types::{CelInt, CelList, CelString, INT_TYPE, LIST_TYPE, STRING_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError};

use super::functions::{Arguments, CelResult, mismatch};
use super::steps::{STEPS_TYPE, Steps, TEXT_MAX, spent, too_long};

const JOIN: &str = "@join";
const REPLACE: &str = "@replace";
const SPLIT: &str = "@split";
const INDEX_OF: &str = "@indexOf";
const LAST_INDEX_OF: &str = "@lastIndexOf";

pub(super) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    let (text, int) = (|| STRING_TYPE, || INT_TYPE);
    env.add_member_overload(JOIN, "@join_0", LIST_TYPE, vec![], join)?;
    env.add_member_overload(JOIN, "@join_1", LIST_TYPE, vec![text()], join)?;
    env.add_member_overload(REPLACE, "@replace_2", text(), vec![text(), text()], replace)?;
    let three = vec![text(), text(), int()];
    env.add_member_overload(REPLACE, "@replace_3", text(), three, replace)?;
    let one = vec![text(), STEPS_TYPE];
    env.add_member_overload(SPLIT, "@split_1", text(), one, split)?;
    let two = vec![text(), int(), STEPS_TYPE];
    env.add_member_overload(SPLIT, "@split_2", text(), two, split)?;
    env.add_member_overload(INDEX_OF, "@index_1", text(), vec![text()], index_of)?;
    env.add_member_overload(INDEX_OF, "@index_2", text(), vec![text(), int()], index_of)?;
    env.add_member_overload(
        LAST_INDEX_OF,
        "@last_1",
        text(),
        vec![text()],
        last_index_of,
    )?;
    let two = vec![text(), int()];
    env.add_member_overload(LAST_INDEX_OF, "@last_2", text(), two, last_index_of)?;
    Ok(())
}

/// The text in an argument. Overloads are called only with the types that they are declared with.
fn text<'a, 'v>(name: &str, value: &'a (dyn Val + 'v)) -> Result<&'a str, ExecutionError> {
    match value.downcast_ref::<CelString<'_>>() {
        Some(text) => Ok(text.inner()),
        None => Err(mismatch(name, value, value)),
    }
}

fn whole(value: Option<&CowVal<'_, '_>>) -> Option<i64> {
    Some(*value?.downcast_ref::<CelInt>()?.inner())
}

fn made<'b, 'v>(name: &str, length: usize, make: impl FnOnce() -> String) -> CelResult<'b, 'v> {
    match length <= TEXT_MAX {
        true => Ok(CowVal::owned(CelString::from(make()))),
        false => Err(ExecutionError::function_error(name, too_long())),
    }
}

fn join<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    let [list, rest @ ..] = arguments.as_slice() else {
        return Err(ExecutionError::function_error(JOIN, "takes a list"));
    };
    let separator = rest.first().map_or(Ok(""), |s| text(JOIN, s.as_ref()))?;
    let not_a_list = || mismatch(JOIN, list.as_ref(), list.as_ref());
    let mut items = list.as_iterable().ok_or_else(not_a_list)?.iter();
    let mut parts = Vec::new();
    while let Some(item) = items.next() {
        parts.push(text(JOIN, item)?);
    }
    let between = separator
        .len()
        .saturating_mul(parts.len().saturating_sub(1));
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    made(JOIN, length.saturating_add(between), || {
        parts.join(separator)
    })
}

fn replace<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    let [this, from, to, rest @ ..] = arguments.as_slice() else {
        return Err(ExecutionError::function_error(REPLACE, "takes two texts"));
    };
    let part = |value| text(REPLACE, CowVal::as_ref(value));
    let (this, from, to) = (part(this)?, part(from)?, part(to)?);
    // A negative count means all.
    let most = whole(rest.first()).and_then(|n| usize::try_from(n).ok());
    let count = this.matches(from).take(most.unwrap_or(usize::MAX)).count();
    let added = count.saturating_mul(to.len());
    made(REPLACE, this.len().saturating_add(added), || match most {
        Some(most) => this.replacen(from, to, most),
        None => this.replace(from, to),
    })
}

fn split<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    let [this, separator, rest @ .., steps] = arguments.as_slice() else {
        return Err(ExecutionError::function_error(SPLIT, "takes a separator"));
    };
    let part = |value| text(SPLIT, CowVal::as_ref(value));
    let (this, separator) = (part(this)?, part(separator)?);
    // At most this many parts, of which the last has the rest. A negative number means all.
    let most = whole(rest.first()).and_then(|n| usize::try_from(n).ok());
    let most = most.unwrap_or(usize::MAX);
    let parts: Box<dyn Iterator<Item = &str>> = match (most, separator.is_empty()) {
        (0, _) => Box::new(std::iter::empty()),
        (_, false) => Box::new(this.splitn(most, separator)),
        (_, true) => {
            let mut rest = this;
            Box::new((1..).map_while(move |n| {
                let length = match n < most {
                    true => rest.chars().next()?.len_utf8(),
                    false => rest.len(),
                };
                let (part, after) = rest.split_at(length);
                rest = after;
                (!part.is_empty()).then_some(part)
            }))
        }
    };
    let steps = steps.downcast_ref::<Steps>();
    let mut list: Vec<Box<dyn Val>> = Vec::new();
    for part in parts {
        if !steps.is_some_and(|steps| steps.take(1)) {
            return Err(ExecutionError::function_error(SPLIT, spent()));
        }
        list.push(Box::new(CelString::from(part.to_owned())));
    }
    Ok(CowVal::owned(CelList::from(list)))
}

fn index_of<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    find(INDEX_OF, &arguments, |text, wanted, from| {
        let start = byte_of(text, from)?;
        Some(start + text[start..].find(wanted)?)
    })
}

fn last_index_of<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    find(LAST_INDEX_OF, &arguments, |text, wanted, from| {
        // A match may start at `from`, and ends after it.
        let end = byte_of(text, from)?
            .saturating_add(wanted.len())
            .min(text.len());
        text[..text.floor_char_boundary(end)].rfind(wanted)
    })
}

/// The position of a text, in characters from 0, or -1. CEL's own search compares at each position.
fn find<'b, 'v>(
    name: &str,
    arguments: &[CowVal<'_, '_>],
    find: impl Fn(&str, &str, usize) -> Option<usize>,
) -> CelResult<'b, 'v> {
    let [this, wanted, rest @ ..] = arguments else {
        return Err(ExecutionError::function_error(name, "takes a text"));
    };
    let (this, wanted) = (text(name, this.as_ref())?, text(name, wanted.as_ref())?);
    let length = this.chars().count();
    let from = whole(rest.first());
    let offset = match from.map(usize::try_from) {
        None if name == INDEX_OF => 0,
        None => length,
        Some(Ok(from)) if from < length || wanted.is_empty() => from.min(length),
        Some(_) => {
            let message = format!("index out of range: {}", from.unwrap_or_default());
            return Err(ExecutionError::function_error(name, message));
        }
    };
    let found = match wanted.is_empty() {
        true => Some(offset),
        false => find(this, wanted, offset).map(|at| this[..at].chars().count()),
    };
    // Positions of a text in memory fit 64 bits.
    let found = found.map_or(-1, |at| at as i64);
    Ok(CowVal::owned(CelInt::from(found)))
}

/// The byte at which a character starts, or the end of the text.
fn byte_of(text: &str, position: usize) -> Option<usize> {
    let mut starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    starts.nth(position)
}
