//! JSON as metadata may use it: read without ambiguity, written in the canonical form that
//! signatures and key ids are made over.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads one JSON text. A key given twice in an object and any number that is no 64-bit integer
/// are refused, so that no two readers can see different things in the same signed bytes.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Strict>(bytes).map(|strict| strict.0)
}

/// The canonical form (OLPC canonical JSON, the specification's 4.2): no spaces, object keys in
/// order of their code points, and in strings only `"` and `\` escaped. Control characters stay
/// as they are, so the result is not always JSON.
///
/// Floats have no canonical form; values come from [`parse`] or from our own types, which have none.
pub(crate) fn canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(map) => write_object(map, out),
    }
}

fn write_object(map: &Map<String, Value>, out: &mut Vec<u8>) {
    // Sorted here and not trusted to be: another crate may switch on insertion order for us.
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| key.as_bytes());
    out.push(b'{');
    for (n, (key, item)) in entries.into_iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_string(key, out);
        out.push(b':');
        write(item, out);
    }
    out.push(b'}');
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without fractions")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Strict(item))) = map.next_entry::<String, Strict>()? {
            if object.contains_key(&key) {
                return Err(de::Error::custom(format_args!("the key {key:?} is given twice")));
            }
            object.insert(key, item);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_is_the_published_one() {
        let cases: [(&str, &[u8]); 6] = [
            (r#" { "b" : [ 1 , -2 ] , "a" : null } "#, br#"{"a":null,"b":[1,-2]}"#),
            (r#"{"é":1,"z":2,"B":3}"#, "{\"B\":3,\"z\":2,\"é\":1}".as_bytes()),
            (r#""a\nb\u0000c""#, b"\"a\nb\0c\""),
            (r#""\"\\\/""#, br#""\"\\/""#),
            ("[true,false,{},[]]", b"[true,false,{},[]]"),
            ("18446744073709551615", b"18446744073709551615"),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical(&parse(text.as_bytes()).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn ambiguous_json_is_refused() {
        let deep = "[".repeat(100_000);
        for wrong in [
            r#"{"a":1,"a":1}"#,
            r#"[{"x":{"a":1,"b":2,"a":3}}]"#,
            "1.0",
            "1e3",
            "-0",
            "18446744073709551616",
            "1 2",
            "{} ]",
            "",
            "\"\u{1}\"",
            "NaN",
            &deep,
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{}", &wrong[..wrong.len().min(40)]);
        }
        assert!(parse(b"\"\xff\"").is_err());
    }
}
