//! Go's `fmt.Sprintf` for the values of templates.

use crate::print;
use crate::value::Value;

/// Fills in a format. Misuse is told inside the result, as in Go: `%!d(string=x)`.
pub fn printf(format: &str, arguments: &[Value]) -> String {
    let mut writer = Writer { arguments, next: 0, reordered: false, text: String::new() };
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        writer.text.push_str(&rest[..at]);
        rest = writer.verb(&rest[at + 1..]);
    }
    writer.text.push_str(rest);
    writer.extra();
    writer.text
}

struct Writer<'a> {
    arguments: &'a [Value],
    next: usize,
    /// `%[1]s` was used: unused arguments are no mistake then.
    reordered: bool,
    text: String,
}

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Default)]
struct Spec {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// No format asks for more blanks than this; Go has the same limit.
const WIDEST: usize = 1_000_000;

impl Writer<'_> {
    /// Reads one verb and writes its argument; what is left of the format comes back.
    fn verb<'f>(&mut self, format: &'f str) -> &'f str {
        let mut spec = Spec::default();
        let mut rest = format;
        while let Some(c) = rest.chars().next() {
            match c {
                '+' => spec.plus = true,
                '-' => spec.minus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                '0' => spec.zero = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        rest = self.index(rest);
        (spec.width, rest) = self.count(rest, "%!(BADWIDTH)", &mut spec.minus);
        if let Some(after) = rest.strip_prefix('.') {
            let after = self.index(after);
            let (precision, after) = self.count(after, "%!(BADPREC)", &mut false);
            spec.precision = Some(precision.unwrap_or(0));
            rest = after;
        }
        rest = self.index(rest);
        let Some(verb) = rest.chars().next() else {
            self.text.push_str("%!(NOVERB)");
            return rest;
        };
        let after = &rest[verb.len_utf8()..];
        if verb == '%' {
            self.text.push('%');
            return after;
        }
        match self.arguments.get(self.next) {
            None => self.text.push_str(&format!("%!{verb}(MISSING)")),
            Some(value) => {
                self.text.push_str(&one(verb, value, spec));
                self.next += 1;
            }
        }
        after
    }

    /// `[2]`
    fn index<'f>(&mut self, rest: &'f str) -> &'f str {
        let bracketed = rest.strip_prefix('[').and_then(|after| after.split_once(']'));
        let number =
            bracketed.and_then(|(number, after)| Some((number.parse::<usize>().ok()?, after)));
        match number {
            Some((number, after)) if number > 0 => {
                self.reordered = true;
                self.next = number - 1;
                after
            }
            _ => rest,
        }
    }

    /// A number or `*`.
    fn count<'f>(
        &mut self,
        rest: &'f str,
        bad: &str,
        minus: &mut bool,
    ) -> (Option<usize>, &'f str) {
        if let Some(after) = rest.strip_prefix('*') {
            let given = match self.arguments.get(self.next) {
                Some(Value::Int(number)) => Some(*number),
                _ => None,
            };
            self.next += 1;
            let small = given.filter(|number| number.unsigned_abs() <= WIDEST as u64);
            if small.is_none() {
                self.text.push_str(bad);
            }
            *minus |= small.is_some_and(|number| number < 0);
            let count = small.and_then(|number| usize::try_from(number.unsigned_abs()).ok());
            return (count, after);
        }
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let count = rest[..digits].parse().ok().filter(|count| *count <= WIDEST);
        (count, &rest[digits..])
    }

    fn extra(&mut self) {
        if self.reordered || self.next >= self.arguments.len() {
            return;
        }
        let extra = self.arguments[self.next..].iter().map(|value| match value {
            Value::Nothing | Value::NilPointer => "<nil>".to_owned(),
            value => format!("{}={}", value.type_name(), print::inner(value)),
        });
        let extra: Vec<String> = extra.collect();
        self.text.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
}

/// One argument by one verb.
fn one(verb: char, value: &Value, spec: Spec) -> String {
    match verb {
        'T' => padded(value.type_name(), spec, false),
        'v' if spec.sharp => padded(syntax(value), spec, false),
        'p' => bad(verb, value),
        _ => {
            let mut text = String::new();
            print::write(&mut text, value, &|leaf, text| {
                text.push_str(&leaf_text(verb, leaf, spec))
            });
            text
        }
    }
}

fn leaf_text(verb: char, value: &Value, spec: Spec) -> String {
    match (verb, value) {
        ('v', Value::Int(_) | Value::Uint(_)) => number('d', value, spec),
        ('v', Value::Float(_)) => number('g', value, spec),
        ('v', Value::String(text)) => padded(cut(text, spec), spec, false),
        ('v' | 't', Value::Bool(_)) => padded(print::inner(value), spec, false),
        ('v', _) => padded("<nil>".to_owned(), spec, false),
        ('s', Value::String(text)) => padded(cut(text, spec), spec, false),
        ('q', Value::String(text)) => {
            let text = cut(text, spec);
            let raw = spec.sharp && !text.contains('`') && !text.contains(char::is_control);
            padded(if raw { format!("`{text}`") } else { print::quote(&text) }, spec, false)
        }
        ('x' | 'X', Value::String(text)) => {
            let bytes = text.bytes().take(spec.precision.unwrap_or(usize::MAX));
            let digits: Vec<String> = bytes
                .map(|b| if verb == 'x' { format!("{b:02x}") } else { format!("{b:02X}") })
                .collect();
            padded(digits.join(if spec.space { " " } else { "" }), spec, false)
        }
        (_, Value::Int(_) | Value::Uint(_) | Value::Float(_)) => number(verb, value, spec),
        _ => bad(verb, value),
    }
}

/// `%!d(string=x)`
fn bad(verb: char, value: &Value) -> String {
    match value {
        Value::Nothing | Value::NilPointer => format!("%!{verb}(<nil>)"),
        value => format!("%!{verb}({}={})", value.type_name(), print::inner(value)),
    }
}

/// A text's first characters, where a precision asks for so few.
fn cut(text: &str, spec: Spec) -> String {
    text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect()
}

fn padded(text: String, spec: Spec, zeros: bool) -> String {
    let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
    if missing == 0 {
        return text;
    }
    if spec.minus {
        return text + &" ".repeat(missing);
    }
    if !(spec.zero && zeros) {
        return " ".repeat(missing) + &text;
    }
    let sign = text.len() - text.trim_start_matches(['+', '-', ' ']).len();
    format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..])
}

fn number(verb: char, value: &Value, spec: Spec) -> String {
    let (negative, magnitude) = match value {
        Value::Int(value) => (*value < 0, value.unsigned_abs()),
        Value::Uint(value) => (false, *value),
        Value::Float(value) => return fraction(verb, *value, spec),
        _ => return bad(verb, value),
    };
    let sharp = |prefix: &'static str| if spec.sharp { prefix } else { "" };
    let digits = match verb {
        'd' => magnitude.to_string(),
        'b' => format!("{}{magnitude:b}", sharp("0b")),
        'o' => format!("{}{magnitude:o}", sharp("0")),
        'O' => format!("0o{magnitude:o}"),
        'x' => format!("{}{magnitude:x}", sharp("0x")),
        'X' => format!("{}{magnitude:X}", sharp("0X")),
        'c' => return padded(character(magnitude).to_string(), spec, false),
        'q' => {
            let mut quoted = String::from("'");
            print::escape(&mut quoted, character(magnitude), '\'');
            return padded(quoted + "'", spec, false);
        }
        'U' => return padded(format!("U+{magnitude:04X}"), spec, false),
        _ => return bad(verb, value),
    };
    let digits = match spec.precision {
        Some(least) => format!("{digits:0>least$}"),
        None => digits,
    };
    padded(sign(negative, spec).to_owned() + &digits, spec, spec.precision.is_none())
}

fn character(code: u64) -> char {
    u32::try_from(code).ok().and_then(char::from_u32).unwrap_or('\u{fffd}')
}

fn sign(negative: bool, spec: Spec) -> &'static str {
    match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (.., true) => " ",
        _ => "",
    }
}

fn fraction(verb: char, value: f64, spec: Spec) -> String {
    let magnitude = value.abs();
    let digits = match (verb, spec.precision) {
        ('f' | 'F', precision) => format!("{magnitude:.*}", precision.unwrap_or(6)),
        ('e' | 'E', precision) => scientific(magnitude, precision.unwrap_or(6), verb),
        ('g', None) => print::shortest(magnitude, 'e'),
        ('G', None) => print::shortest(magnitude, 'E'),
        ('g' | 'G', Some(precision)) => general(magnitude, precision.max(1)),
        _ => return bad(verb, &Value::Float(value)),
    };
    if !value.is_finite() {
        return padded(print::float(value), spec, false);
    }
    padded(sign(value.is_sign_negative(), spec).to_owned() + &digits, spec, true)
}

/// `1.500000e+06`
fn scientific(value: f64, precision: usize, letter: char) -> String {
    let text = format!("{value:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{mantissa}{}", print::go_exponent(letter, exponent.parse().unwrap_or(0)))
}

/// `%.3g`: so many digits, no zeros behind.
fn general(value: f64, precision: usize) -> String {
    let text = format!("{value:.*e}", precision - 1);
    let exponent = text.split_once('e').and_then(|(_, text)| text.parse::<i32>().ok()).unwrap_or(0);
    let behind = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let most = i32::try_from(precision).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= most {
        let mantissa = text.split_once('e').map_or("", |(mantissa, _)| mantissa);
        return behind(mantissa) + &print::go_exponent('e', exponent);
    }
    let places = usize::try_from(most - 1 - exponent).unwrap_or(0);
    behind(&format!("{value:.places$}"))
}

/// `%#v`: as it would be written in Go.
fn syntax(value: &Value) -> String {
    let joined = |items: Vec<String>| items.join(", ");
    match value {
        Value::String(text) => print::quote(text),
        Value::Nothing | Value::NilPointer => "interface {}(nil)".to_owned(),
        Value::Uint(value) => format!("0x{value:x}"),
        Value::List(list) => {
            let items = list.items.iter().map(syntax).collect();
            format!("{}{{{}}}", value.type_name(), joined(items))
        }
        Value::Map(map) => {
            let entry = |(key, value): (&std::rc::Rc<str>, &Value)| {
                format!("{}:{}", print::quote(key), syntax(value))
            };
            format!("{}{{{}}}", value.type_name(), joined(map.entries.iter().map(entry).collect()))
        }
        Value::Object(object) => {
            let field = |name: &str| {
                format!("{name}:{}", syntax(&object.field(name).unwrap_or(Value::Nothing)))
            };
            let fields = object.names().into_iter().map(field).collect();
            format!("{}{{{}}}", object.type_name(), joined(fields))
        }
        other => print::inner(other),
    }
}
