//! The functions that expressions can call.

use std::any::Any;
use std::sync::{Arc, LazyLock};

use cel::common::types::{
    BOOL_TYPE, CelBool, CelDouble, CelInt, CelList, CelString, DOUBLE_TYPE, DYN_TYPE, STRING_TYPE,
    Type,
};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{Env, ExecutionError, extensions};
use rowmill_domain::value::{Kind, Value, whole as whole_number};

use super::steps::{STEPS_TYPE, Steps, spent};
use super::{bounded, explain};

/// Operators that this project redefines. A source cannot contain these names.
pub(super) const EQUALS: &str = "@equals";
pub(super) const IN: &str = "@in_list";
pub(super) const DIVIDE: &str = "@divide";
pub(super) const REMAINDER: &str = "@remainder";
pub(super) const MATCHES: &str = "@matches";
pub(super) const INDEX: &str = "@index";
/// Takes a step and returns its other argument; an error without steps left.
pub(super) const STEP: &str = "@step";

/// A function that a source can call.
pub(super) struct CelFunction {
    /// The name in the source, including `math.`.
    pub(super) name: &'static str,
    /// Whether it is a method of a value: `text.trim()`.
    pub(super) member: bool,
    /// Minimum and maximum number of arguments, without the value of a method.
    pub(super) arguments: (usize, usize),
    /// The index of the first argument that CEL requires to be an integer.
    pub(super) whole_from: usize,
    /// Whether the result is an integer, which is converted to a double.
    pub(super) whole_result: bool,
    /// The overload, if this project defines it.
    pub(super) own: Option<&'static str>,
    /// Whether the overload takes the steps of the evaluation as its last argument.
    pub(super) takes_steps: bool,
}

const fn global(name: &'static str, arguments: (usize, usize)) -> CelFunction {
    CelFunction {
        name,
        member: false,
        arguments,
        whole_from: usize::MAX,
        whole_result: false,
        own: None,
        takes_steps: false,
    }
}

const fn member(name: &'static str, arguments: (usize, usize)) -> CelFunction {
    CelFunction {
        member: true,
        ..global(name, arguments)
    }
}

/// Every function except `has`, `matches`, `exists` and `all`, which the rewriter handles.
pub(super) const FUNCTIONS: &[CelFunction] = &[
    CelFunction {
        own: Some("@text"),
        ..global("string", (1, 1))
    },
    CelFunction {
        own: Some("@number"),
        ..global("double", (1, 1))
    },
    CelFunction {
        own: Some("@whole"),
        ..global("int", (1, 1))
    },
    global("bool", (1, 1)),
    CelFunction {
        whole_result: true,
        ..global("size", (1, 1))
    },
    global("math.abs", (1, 1)),
    global("math.ceil", (1, 1)),
    global("math.floor", (1, 1)),
    global("math.round", (1, 1)),
    global("math.sign", (1, 1)),
    global("math.sqrt", (1, 1)),
    global("math.trunc", (1, 1)),
    CelFunction {
        whole_result: true,
        ..member("size", (0, 0))
    },
    CelFunction {
        whole_from: 0,
        ..member("charAt", (1, 1))
    },
    member("contains", (1, 1)),
    member("endsWith", (1, 1)),
    CelFunction {
        whole_from: 1,
        whole_result: true,
        own: Some("@indexOf"),
        ..member("indexOf", (1, 2))
    },
    CelFunction {
        own: Some("@join"),
        ..member("join", (0, 1))
    },
    CelFunction {
        whole_from: 1,
        whole_result: true,
        own: Some("@lastIndexOf"),
        ..member("lastIndexOf", (1, 2))
    },
    member("lower", (0, 0)),
    member("lowerAscii", (0, 0)),
    CelFunction {
        whole_from: 2,
        own: Some("@replace"),
        ..member("replace", (2, 3))
    },
    member("reverse", (0, 0)),
    CelFunction {
        whole_from: 1,
        own: Some("@split"),
        takes_steps: true,
        ..member("split", (1, 2))
    },
    member("startsWith", (1, 1)),
    CelFunction {
        whole_from: 0,
        ..member("substring", (1, 2))
    },
    member("trim", (0, 0)),
    member("upper", (0, 0)),
    member("upperAscii", (0, 0)),
];

/// Returns the names of all functions or methods, for suggestions.
pub(super) fn names(member: bool) -> impl Iterator<Item = &'static str> + Clone {
    let special: &[&str] = if member {
        &["matches", "exists", "all"]
    } else {
        &["has", "matches"]
    };
    FUNCTIONS
        .iter()
        .filter(move |f| f.member == member)
        .map(|f| f.name)
        .chain(special.iter().copied())
}

/// Returns the environment of all expressions.
pub(super) fn environment() -> Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
        // A declaration fails only if a name and signature are declared twice, which does not depend
        // on any input; a test evaluates each function.
        Arc::new(declare().unwrap_or_default())
    });
    ENVIRONMENT.clone()
}

fn declare() -> Result<Env, cel::DeclarationError> {
    let mut env = Env::default().with_optional_support(false).with_stdlib();
    env.add_extension(extensions::strings)?;
    env.add_extension(extensions::math)?;
    let any = || DYN_TYPE;
    env.add_overload(EQUALS, EQUALS, vec![any(), any()], equals)?;
    env.add_overload(IN, IN, vec![any(), any()], is_in)?;
    env.add_overload(DIVIDE, DIVIDE, vec![DOUBLE_TYPE, DOUBLE_TYPE], divide)?;
    env.add_overload(
        REMAINDER,
        REMAINDER,
        vec![DOUBLE_TYPE, DOUBLE_TYPE],
        remainder,
    )?;
    env.add_overload(INDEX, INDEX, vec![any()], index)?;
    env.add_overload(MATCHES, MATCHES, vec![STRING_TYPE, PATTERN_TYPE], matches)?;
    for kind in [STRING_TYPE, DOUBLE_TYPE, BOOL_TYPE] {
        let name = kind.name().to_owned();
        env.add_overload("@text", &format!("@text_{name}"), vec![kind], text)?;
    }
    for kind in [STRING_TYPE, DOUBLE_TYPE] {
        let name = kind.name().to_owned();
        env.add_overload(
            "@number",
            &format!("@number_{name}"),
            vec![kind.to_owned()],
            number,
        )?;
        env.add_overload("@whole", &format!("@whole_{name}"), vec![kind], whole)?;
    }
    env.add_overload(STEP, STEP, vec![STEPS_TYPE, any()], step)?;
    bounded::declare(&mut env)?;
    env.add_member_overload("lower", "lower", STRING_TYPE, vec![], lower)?;
    env.add_member_overload("upper", "upper", STRING_TYPE, vec![], upper)?;
    Ok(env)
}

/// Takes a step. Without steps left, the error ends all loops.
fn step<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    let [steps, value] = two(STEP, arguments)?;
    match steps.downcast_ref::<Steps>() {
        Some(steps) if steps.take(1) => Ok(value),
        _ => Err(ExecutionError::function_error(STEP, spent())),
    }
}

pub(super) type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
pub(super) type CelResult<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// Returns the arguments of an overload that is declared with two.
fn two<'b, 'v>(
    name: &str,
    arguments: Arguments<'b, 'v>,
) -> Result<[CowVal<'b, 'v>; 2], ExecutionError> {
    <[CowVal<'b, 'v>; 2]>::try_from(arguments)
        .map_err(|_| ExecutionError::function_error(name, "takes two arguments"))
}

/// Returns the argument of an overload that is declared with one.
fn one<'b, 'v>(name: &str, mut arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    arguments
        .pop()
        .ok_or_else(|| ExecutionError::function_error(name, "takes an argument"))
}

pub(super) fn mismatch(name: &str, a: &dyn Val, b: &dyn Val) -> ExecutionError {
    let kinds = [a, b].map(|v| v.get_type().name().to_owned());
    ExecutionError::no_such_overload(name, kinds.into())
}

/// `==` that accepts only two values of the same type.
fn equals<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    let [a, b] = two(EQUALS, arguments)?;
    same(a.as_ref(), b.as_ref())
        .map(|equal| CowVal::owned(CelBool::from(equal)))
        .ok_or_else(|| mismatch(EQUALS, a.as_ref(), b.as_ref()))
}

/// Whether two values are equal. `None`: they have different types.
fn same(a: &dyn Val, b: &dyn Val) -> Option<bool> {
    (a.get_type().kind() == b.get_type().kind()).then(|| a.equals(b))
}

/// `in` that compares like [`equals`]: false only if the list has no value of another type.
fn is_in<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    let [item, list] = two(IN, arguments)?;
    let mut comparable = true;
    if let Some(list) = list.downcast_ref::<CelList<'_>>() {
        for element in list.inner() {
            match same(item.as_ref(), element.as_ref()) {
                Some(true) => return Ok(CowVal::owned(CelBool::from(true))),
                Some(false) => {}
                None => comparable = false,
            }
        }
    } else if let Some(map) = list.as_container()
        && item.downcast_ref::<CelString<'_>>().is_some()
    {
        return Ok(CowVal::owned(CelBool::from(map.contains(item.as_ref())?)));
    } else {
        comparable = false;
    }
    if comparable {
        return Ok(CowVal::owned(CelBool::from(false)));
    }
    Err(mismatch(IN, item.as_ref(), list.as_ref()))
}

fn two_numbers(name: &str, arguments: Arguments<'_, '_>) -> Result<(f64, f64), ExecutionError> {
    let [a, b] = two(name, arguments)?;
    match (a.downcast_ref::<CelDouble>(), b.downcast_ref::<CelDouble>()) {
        (Some(a), Some(b)) => Ok((*a.inner(), *b.inner())),
        _ => Err(mismatch(name, a.as_ref(), b.as_ref())),
    }
}

fn divide<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    match two_numbers(DIVIDE, arguments)? {
        (a, 0.0) => Err(ExecutionError::DivisionByZero(a.into())),
        (a, b) => Ok(CowVal::owned(CelDouble::from(a / b))),
    }
}

fn remainder<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    match two_numbers(REMAINDER, arguments)? {
        (a, 0.0) => Err(ExecutionError::RemainderByZero(a.into())),
        (a, b) => Ok(CowVal::owned(CelDouble::from(a % b))),
    }
}

/// `string(x)`: the text that the result workbook would show.
fn text<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    let value = one("string", arguments)?;
    if value.downcast_ref::<CelString<'_>>().is_some() {
        return Ok(value);
    }
    let value = cel::Value::try_from(value.as_ref())?;
    let cell = super::cell(&value).map_err(|e| ExecutionError::function_error("string", e))?;
    Ok(CowVal::owned(CelString::from(cell.to_text())))
}

fn read_number(value: &dyn Val) -> Result<f64, ExecutionError> {
    let value = cel::Value::try_from(value)?;
    if let Some(n) = super::number(&value) {
        return Ok(n);
    }
    match &value {
        cel::Value::String(t) => match Value::parse(t, Kind::Number) {
            Some(Value::Number(n)) => Ok(n),
            _ => Err(ExecutionError::function_error(
                "double",
                format_args!("{} is not a number", explain::held(&value)),
            )),
        },
        _ => Err(ExecutionError::function_error(
            "double",
            "the value is not a number",
        )),
    }
}

/// `double(x)`: converts text to a number.
fn number<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    let n = read_number(one("double", arguments)?.as_ref())?;
    Ok(CowVal::owned(CelDouble::from(n)))
}

/// `int(x)`: removes the fraction of a number.
fn whole<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    let n = read_number(one("int", arguments)?.as_ref())?;
    Ok(CowVal::owned(CelDouble::from(n.trunc())))
}

/// A position or count as the integer that CEL's functions take. CEL's own `int` would also convert
/// text, and remove a fraction.
fn index<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    let value = cel::Value::try_from(one(INDEX, arguments)?.as_ref())?;
    let help = match value {
        cel::Value::String(_) => "; to convert text, write double(..)",
        _ => "",
    };
    // -0.0 is a result of calculations, and is 0.
    match super::number(&value).and_then(|n| whole_number(n + 0.0)) {
        Some(n) => Ok(CowVal::owned(CelInt::from(n))),
        None => Err(ExecutionError::function_error(
            INDEX,
            format_args!(
                "a position or count must be a whole number, not {}{help}",
                explain::held(&value)
            ),
        )),
    }
}

fn mapped<'b, 'v>(
    name: &str,
    arguments: Arguments<'b, 'v>,
    map: impl Fn(&str) -> String,
) -> CelResult<'b, 'v> {
    let value = one(name, arguments)?;
    match value.downcast_ref::<CelString<'_>>() {
        Some(t) => Ok(CowVal::owned(CelString::from(map(t.inner())))),
        None => Err(mismatch(name, value.as_ref(), value.as_ref())),
    }
}

fn lower<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    mapped("lower", arguments, str::to_lowercase)
}

fn upper<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    mapped("upper", arguments, str::to_uppercase)
}

fn matches<'b, 'v>(arguments: Arguments<'b, 'v>) -> CelResult<'b, 'v> {
    let [text, pattern] = two(MATCHES, arguments)?;
    match (
        text.downcast_ref::<CelString<'_>>(),
        pattern.downcast_ref::<Pattern>(),
    ) {
        (Some(text), Some(pattern)) => Ok(CowVal::owned(CelBool::from(
            pattern.0.is_match(text.inner()),
        ))),
        _ => Err(mismatch(MATCHES, text.as_ref(), pattern.as_ref())),
    }
}

const PATTERN_TYPE: Type = Type::new_unspecified_type("pattern");
static PATTERN: Type = PATTERN_TYPE;

/// A regular expression that is compiled with its expression. CEL alone would compile it again for
/// each record.
#[derive(Clone, Debug)]
pub(super) struct Pattern(pub(super) regex::Regex);

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}
