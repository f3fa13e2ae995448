//! Go's `%v`: values as text.

use crate::Value;
use std::fmt::Write;

/// A value as a template prints it.
pub fn text(value: &Value) -> String {
    match value {
        Value::Nothing => "<no value>".to_owned(),
        value => inner(value),
    }
}

/// The same inside a list, or as an argument of `print`: nothing is `<nil>` there.
pub(crate) fn inner(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, &|value, text| {
        if let Value::String(string) = value {
            text.push_str(string);
        } else {
            text.push_str(&scalar(value));
        }
    });
    text
}

/// Writes a value whose parts without parts are written by `leaf`.
pub(crate) fn write(text: &mut String, value: &Value, leaf: &dyn Fn(&Value, &mut String)) {
    match value {
        Value::List(list) => {
            text.push('[');
            for (number, item) in list.items.iter().enumerate() {
                if number > 0 {
                    text.push(' ');
                }
                write(text, item, leaf);
            }
            text.push(']');
        }
        Value::Map(map) => {
            text.push_str("map[");
            for (number, (key, value)) in map.entries.iter().enumerate() {
                if number > 0 {
                    text.push(' ');
                }
                leaf(&Value::String(key.clone()), text);
                text.push(':');
                write(text, value, leaf);
            }
            text.push(']');
        }
        Value::Object(object) => {
            text.push('{');
            for (number, name) in object.names().into_iter().enumerate() {
                if number > 0 {
                    text.push(' ');
                }
                write(text, &object.field(name).unwrap_or(Value::Nothing), leaf);
            }
            text.push('}');
        }
        value => leaf(value, text),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Float(value) => float(*value),
        _ => "<nil>".to_owned(),
    }
}

/// The shortest digits that read back the same.
pub(crate) fn float(value: f64) -> String {
    shortest(value, 'e')
}

/// `%g`: exponents begin at a million and below a ten-thousandth.
pub(crate) fn shortest(value: f64, letter: char) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match (-4..6).contains(&exponent) {
        true => format!("{value}"),
        false => format!("{mantissa}{}", go_exponent(letter, exponent)),
    }
}

/// `e+06`
pub(crate) fn go_exponent(letter: char, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{letter}{sign}{:02}", exponent.unsigned_abs())
}

/// Go's `strconv.Quote`.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    text.chars().for_each(|c| escape(&mut quoted, c, '"'));
    quoted.push('"');
    quoted
}

/// One character of a quoted text.
pub(crate) fn escape(quoted: &mut String, c: char, mark: char) {
    match c {
        '\\' => quoted.push_str("\\\\"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        '\x07' => quoted.push_str("\\a"),
        '\x08' => quoted.push_str("\\b"),
        '\x0b' => quoted.push_str("\\v"),
        '\x0c' => quoted.push_str("\\f"),
        c if c == mark => {
            quoted.push('\\');
            quoted.push(c);
        }
        // Writing into a text does not fail.
        c if c.is_ascii_control() => drop(write!(quoted, "\\x{:02x}", u32::from(c))),
        c if c.is_control() || c == '\u{feff}' => drop(write!(quoted, "\\u{:04x}", u32::from(c))),
        c => quoted.push(c),
    }
}
