//! `eq`, `ne`, `lt`, `le`, `gt`, `ge`.

use crate::Value;
use crate::print::inner;
use std::cmp::Ordering;

const BAD: &str = "incompatible types for comparison";
const BAD_TYPE: &str = "invalid type for comparison";

/// `eq A B…`: whether A equals any of the others.
pub(crate) fn eq(arguments: &[Value]) -> Result<Value, String> {
    let [first, others @ ..] = arguments else { return Err(no_comparison()) };
    if others.is_empty() {
        return Err(no_comparison());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn no_comparison() -> String {
    "missing argument for comparison".to_owned()
}

/// Whether two values are equal.
pub(crate) fn equal(one: &Value, other: &Value) -> Result<bool, String> {
    use Value::{Bool, Float, Int, List, Map, NilPointer, Nothing, Object, String as Text, Uint};
    Ok(match (one, other) {
        (Bool(a), Bool(b)) => a == b,
        (Int(a), Int(b)) => a == b,
        (Uint(a), Uint(b)) => a == b,
        (Int(a), Uint(b)) | (Uint(b), Int(a)) => u64::try_from(*a) == Ok(*b),
        (Float(a), Float(b)) => a == b,
        (Text(a), Text(b)) => a == b,
        (Nothing | NilPointer, Nothing | NilPointer) => true,
        (Nothing | NilPointer, _) | (_, Nothing | NilPointer) => false,
        (List(_) | Map(_) | Object(_), List(_) | Map(_) | Object(_)) => {
            return Err(format!("non-comparable type {}: {}", inner(one), one.type_name()));
        }
        _ => return Err(BAD.to_owned()),
    })
}

/// How two values stand to each other.
pub(crate) fn order(one: &Value, other: &Value) -> Result<Ordering, String> {
    use Value::{Bool, Float, Int, String as Text, Uint};
    Ok(match (one, other) {
        (Int(a), Int(b)) => a.cmp(b),
        (Uint(a), Uint(b)) => a.cmp(b),
        (Int(a), Uint(b)) => i128::from(*a).cmp(&i128::from(*b)),
        (Uint(a), Int(b)) => i128::from(*a).cmp(&i128::from(*b)),
        // What is no number is not less, and not equal either.
        (Float(a), Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Greater),
        (Text(a), Text(b)) => a.cmp(b),
        (Bool(_), Bool(_)) => return Err(BAD_TYPE.to_owned()),
        (
            Int(_) | Uint(_) | Float(_) | Text(_) | Bool(_),
            Int(_) | Uint(_) | Float(_) | Text(_) | Bool(_),
        ) => {
            return Err(BAD.to_owned());
        }
        _ => return Err(BAD_TYPE.to_owned()),
    })
}
