//! `index`, `slice`, `len`: into lists, maps and texts.

use crate::Value;
use crate::value::List;
use std::rc::Rc;

/// `index X 1 "a"`: `X[1]["a"]`.
pub(crate) fn index(arguments: &[Value]) -> Result<Value, String> {
    let [item, indexes @ ..] = arguments else { return Err("index of untyped nil".to_owned()) };
    let mut item = item.clone();
    if matches!(item, Value::Nothing) {
        return Err("index of untyped nil".to_owned());
    }
    for index in indexes {
        item = match &item {
            Value::List(list) => {
                let at = position(index, list.items.len(), false)?;
                list.items.get(at).cloned().unwrap_or(Value::Nothing)
            }
            Value::String(text) => {
                let at = position(index, text.len(), false)?;
                Value::Uint(u64::from(text.as_bytes()[at]))
            }
            Value::Map(map) => match index {
                Value::String(key) => {
                    map.entries.get(key).cloned().unwrap_or_else(|| map.of.zero())
                }
                Value::Nothing | Value::NilPointer => {
                    return Err("value is nil; should be of type string".to_owned());
                }
                other => {
                    return Err(format!("value has type {}; should be string", other.type_name()));
                }
            },
            Value::Nothing | Value::NilPointer => {
                return Err("index of nil pointer".to_owned());
            }
            other => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(item)
}

/// An index as a number below the length, or up to it for ends of slices.
fn position(index: &Value, length: usize, end: bool) -> Result<usize, String> {
    let number = match index {
        Value::Int(number) => i128::from(*number),
        Value::Uint(number) => i128::from(*number),
        Value::Nothing | Value::NilPointer => {
            return Err("cannot index slice/array with nil".to_owned());
        }
        other => {
            return Err(format!("cannot index slice/array with type {}", other.type_name()));
        }
    };
    usize::try_from(number)
        .ok()
        .filter(|at| *at < length || end && *at == length)
        .ok_or_else(|| format!("index out of range: {number}"))
}

/// `slice X 1 2`: `X[1:2]`.
pub(crate) fn slice(arguments: &[Value]) -> Result<Value, String> {
    let [item, indexes @ ..] = arguments else { return Err("slice of untyped nil".to_owned()) };
    if matches!(item, Value::Nothing) {
        return Err("slice of untyped nil".to_owned());
    }
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    let length = match item {
        Value::String(_) if indexes.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::String(text) => text.len(),
        Value::List(list) => list.items.len(),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut ends = [0, length, length];
    for (end, index) in ends.iter_mut().zip(indexes) {
        *end = position(index, length, true)?;
    }
    let [from, to, most] = ends;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    if indexes.len() == 3 && to > most {
        return Err(format!("invalid slice index: {to} > {most}"));
    }
    Ok(match item {
        Value::String(text) => {
            Value::from(String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned())
        }
        Value::List(list) => {
            let items = list.items[from..to].to_vec();
            Value::List(Rc::new(List { items, of: list.of, is_nil: false }))
        }
        _ => Value::Nothing,
    })
}

/// `len X`
pub(crate) fn len(item: &Value) -> Result<Value, String> {
    let length = match item {
        Value::String(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.entries.len(),
        Value::Nothing => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}
