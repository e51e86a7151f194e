//! The serde deserializer over a [`Node`]: weak typing, rendering, places in errors.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::{SeqDeserializer, StrDeserializer, StringDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::{Decoded, Decoding};
use crate::node::{Member, Node, Value};
use crate::render::{Deferred, RenderData};
use crate::source::{Diagnostic, Diagnostics, Span, nearest};

/// Keys that components of old had and what they are called now.
const RENAMED: [(&str, &str); 8] = [
    ("ssh_wait_timeout", "ssh_timeout"),
    ("ssh_key_path", "ssh_private_key_file"),
    ("ssh_private_ip", "ssh_interface"),
    ("shutdown_behaviour", "shutdown_behavior"),
    ("enhanced_networking", "ena_support"),
    ("temporary_security_group_source_cidr", "temporary_security_group_source_cidrs"),
    ("snapshot_groupes", "snapshot_groups"),
    ("ssh_disable_agent", "ssh_disable_agent_forwarding"),
];

pub(super) fn decode<T: DeserializeOwned>(node: &Node, how: &Decoding<'_>) -> Decoded<T> {
    let shared = Shared { how: *how, unknown: RefCell::default() };
    let result = T::deserialize(At { node, shared: &shared, top: true });
    let mut diagnostics = Diagnostics(shared.unknown.into_inner());
    match result {
        Ok(value) if diagnostics.0.is_empty() => Ok(value),
        Ok(_) => Err(diagnostics),
        Err(DecodeError(mut diagnostic)) => {
            diagnostic.message = format!("{}: {}", how.component, diagnostic.message);
            diagnostics.push(*diagnostic);
            Err(diagnostics)
        }
    }
}

struct Shared<'a> {
    how: Decoding<'a>,
    unknown: RefCell<Vec<Diagnostic>>,
}

#[derive(Debug)]
struct DecodeError(Box<Diagnostic>);

impl DecodeError {
    fn at(mut self, span: Option<&Span>) -> Self {
        if self.0.span.is_none() {
            self.0.span = span.cloned();
        }
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for DecodeError {}

impl serde::de::Error for DecodeError {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self(Box::new(Diagnostic::error(message.to_string())))
    }
}

type Result<T> = std::result::Result<T, DecodeError>;

/// A node on its way to become a value.
#[derive(Clone, Copy)]
struct At<'a> {
    node: &'a Node,
    shared: &'a Shared<'a>,
    /// Whether this is the component itself, whose `type` and `packer_*` keys are not its own.
    top: bool,
}

impl<'a> At<'a> {
    fn inner(self, node: &'a Node) -> Self {
        At { node, shared: self.shared, top: false }
    }

    fn fail<T>(self, message: impl Into<String>) -> Result<T> {
        Err(DecodeError(Box::new(Diagnostic::error(message).at(self.node.span.clone()))))
    }

    fn wrong<T>(self, expected: &str) -> Result<T> {
        self.fail(format!("expected {expected}, found {}", self.node.kind()))
    }

    fn render(self, text: &str) -> Result<String> {
        self.shared.how.renderer.render(text, &RenderData::default()).map_err(|e| {
            let span =
                self.node.span.as_ref().map(|span| e.offset.map_or_else(|| span.clone(), |at| span.inside(text, at)));
            DecodeError(Box::new(Diagnostic::error(e.message).at(span)))
        })
    }

    /// The text that a scalar stands for; booleans become `1` and `0`, as in Packer.
    fn text(self) -> Result<Option<String>> {
        Ok(match &self.node.value {
            Value::String(text) => Some(self.render(text)?),
            Value::Number(text) => Some(text.clone()),
            Value::Bool(yes) => Some(if *yes { "1" } else { "0" }.to_owned()),
            Value::Null => Some(String::new()),
            Value::Array(_) | Value::Object(_) => None,
        })
    }

    fn bool(self) -> Result<bool> {
        let Some(text) = self.text()? else { return self.wrong("a boolean") };
        // Go's strconv.ParseBool, and any number but 0.
        match text.as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            _ if matches!(self.node.value, Value::Number(_)) => Ok(true),
            _ => self.fail(format!("expected a boolean (true or false), found \"{text}\"")),
        }
    }

    fn integer(self) -> Result<i64> {
        let Some(text) = self.text()? else { return self.wrong("a whole number") };
        let text = text.trim();
        if text.is_empty() {
            return Ok(0);
        }
        if let Ok(n) = text.parse() {
            return Ok(n);
        }
        // `5.0` and `1e3` are whole numbers too; 2^53 is where a float stops telling them apart.
        match text.parse::<f64>() {
            #[expect(clippy::cast_possible_truncation, reason = "the guard keeps it exact")]
            Ok(f) if f.fract() == 0.0 && f.abs() < 9_007_199_254_740_992.0 => Ok(f as i64),
            _ => self.fail(format!("expected a whole number, found \"{text}\"")),
        }
    }

    fn unsigned(self) -> Result<u64> {
        let n = self.integer()?;
        u64::try_from(n).or_else(|_| self.fail(format!("expected a number that is not negative, found {n}")))
    }

    fn float(self) -> Result<f64> {
        let Some(text) = self.text()? else { return self.wrong("a number") };
        let text = text.trim();
        if text.is_empty() {
            return Ok(0.0);
        }
        text.parse().or_else(|_| self.fail(format!("expected a number, found \"{text}\"")))
    }

    /// Reports the keys of an object that no field takes.
    fn check_keys(self, members: &[Member], fields: &[&str]) {
        let how = &self.shared.how;
        for member in members {
            let key = member.key.as_str();
            let here = fields.iter().any(|f| f.eq_ignore_ascii_case(key));
            let elsewhere = self.top
                && (key.eq_ignore_ascii_case("type")
                    || key.starts_with("packer_")
                    || how.elsewhere.iter().any(|f| f.eq_ignore_ascii_case(key)));
            if here || elsewhere {
                continue;
            }
            let renamed = RENAMED.iter().find(|(old, _)| *old == key).map(|(_, new)| *new);
            let near = nearest(key, fields.iter().chain(how.elsewhere.iter().filter(|_| self.top)).copied());
            let mut diagnostic = match renamed {
                Some(_) => Diagnostic::error(format!("{}: deprecated configuration key `{key}`", how.component)),
                None => Diagnostic::error(format!("{}: unknown configuration key `{key}`", how.component)),
            };
            diagnostic.help = match (renamed, near) {
                (Some(new), _) => Some(format!("it is called `{new}` now")),
                (None, Some(near)) => Some(format!("did you mean `{near}`?")),
                (None, None) => None,
            };
            diagnostic.span.clone_from(&member.key_span);
            self.shared.unknown.borrow_mut().push(diagnostic);
        }
    }

    fn visit_map<'de, V: Visitor<'de>>(self, fields: Option<&'static [&'static str]>, visitor: V) -> Result<V::Value> {
        let members = match &self.node.value {
            Value::Object(members) => members.iter().collect(),
            Value::Null => Vec::new(),
            // A list of objects is one object, as HCL's blocks came to be written in JSON.
            Value::Array(items) => {
                let mut members = Vec::new();
                for item in items {
                    match item.members() {
                        Some(more) => members.extend(more),
                        None => return self.inner(item).wrong("an object"),
                    }
                }
                members
            }
            _ => return self.wrong("an object"),
        };
        for object in fields.iter().flat_map(|_| self.node.items().unwrap_or(std::slice::from_ref(self.node))) {
            self.check_keys(object.members().unwrap_or_default(), fields.unwrap_or_default());
        }
        visitor
            .visit_map(Members { at: self, fields, rest: members.into_iter(), value: None })
            .map_err(|e| e.at(self.node.span.as_ref()))
    }
}

macro_rules! weak {
    ($($method:ident $get:ident $visit:ident),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.$visit(self.$get()?).map_err(|e: DecodeError| e.at(self.node.span.as_ref()))
        })*
    };
}

impl<'de> Deserializer<'de> for At<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let result = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(yes) => visitor.visit_bool(*yes),
            Value::Number(text) => match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(n), _) => visitor.visit_i64(n),
                (_, Ok(f)) => visitor.visit_f64(f),
                _ => return self.wrong("a number"),
            },
            Value::String(text) => visitor.visit_string(self.render(text)?),
            Value::Array(_) => return self.deserialize_seq(visitor),
            Value::Object(_) => return self.visit_map(None, visitor),
        };
        result.map_err(|e: DecodeError| e.at(self.node.span.as_ref()))
    }

    weak! {
        deserialize_bool bool visit_bool,
        deserialize_i8 integer visit_i64, deserialize_i16 integer visit_i64,
        deserialize_i32 integer visit_i64, deserialize_i64 integer visit_i64, deserialize_i128 integer visit_i64,
        deserialize_u8 unsigned visit_u64, deserialize_u16 unsigned visit_u64,
        deserialize_u32 unsigned visit_u64, deserialize_u64 unsigned visit_u64, deserialize_u128 unsigned visit_u64,
        deserialize_f32 float visit_f64, deserialize_f64 float visit_f64,
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.text()? {
            Some(text) => visitor.visit_string(text).map_err(|e: DecodeError| e.at(self.node.span.as_ref())),
            None => self.wrong("a string"),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let unset = match &self.node.value {
            Value::Null => true,
            // An error here comes again, with its place, when the inner type asks for the text.
            Value::String(text) => self.render(text).is_ok_and(|text| text.is_empty()),
            _ => false,
        };
        if unset { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        if name != Deferred::MARK {
            return visitor.visit_newtype_struct(self);
        }
        let template = match &self.node.value {
            Value::String(text) => text.clone(),
            _ => match self.text()? {
                Some(text) => text,
                None => return self.wrong("a string"),
            },
        };
        deferred(self.shared, template, self.node.span.as_ref(), visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let single;
        let items = match &self.node.value {
            Value::Array(items) => items.as_slice(),
            Value::Null => &[],
            Value::String(text) => {
                // A deferred list is split only where nothing has to be rendered first.
                let text =
                    if text.contains("{{") { self.render(text).unwrap_or_else(|_| text.clone()) } else { text.clone() };
                let pieces = text.split(',').filter(|_| !text.is_empty());
                single = pieces
                    .map(|piece| Node { span: self.node.span.clone(), ..Node::string(piece) })
                    .collect::<Vec<_>>();
                single.as_slice()
            }
            _ => std::slice::from_ref(self.node),
        };
        visitor.visit_seq(Items { at: self, items: items.iter() }).map_err(|e| e.at(self.node.span.as_ref()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.visit_map(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.visit_map(Some(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let Some(text) = self.text()? else { return self.wrong("a string") };
        if !variants.contains(&text.as_str()) {
            let mut diagnostic = Diagnostic::error(format!("\"{text}\" is not one of {}", variants.join(", ")));
            diagnostic.help = nearest(&text, variants.iter().copied()).map(|near| format!("did you mean `{near}`?"));
            return Err(DecodeError(Box::new(diagnostic)).at(self.node.span.as_ref()));
        }
        visitor.visit_enum(UnitVariant(text))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }
}

/// Hands a template to [`Deferred`] as it is, with its place, after a look at its syntax.
fn deferred<'de, V: Visitor<'de>>(
    shared: &Shared<'_>,
    template: String,
    span: Option<&Span>,
    visitor: V,
) -> Result<V::Value> {
    if let Err(e) = shared.how.renderer.check(&template) {
        let span = span.map(|span| e.offset.map_or_else(|| span.clone(), |at| span.inside(&template, at)));
        return Err(DecodeError(Box::new(Diagnostic::error(e.message).at(span))));
    }
    let place = span.map(ToString::to_string).unwrap_or_default();
    visitor.visit_newtype_struct(SeqDeserializer::new([template, place].into_iter()))
}

struct UnitVariant(String);

impl<'de> EnumAccess<'de> for UnitVariant {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let name: StrDeserializer<'_, DecodeError> = self.0.as_str().into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for UnitVariant {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value> {
        Err(serde::de::Error::custom("expected a plain value"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value> {
        Err(serde::de::Error::custom("expected a plain value"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], _visitor: V) -> Result<V::Value> {
        Err(serde::de::Error::custom("expected a plain value"))
    }
}

struct Items<'a> {
    at: At<'a>,
    items: std::slice::Iter<'a, Node>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.items.next().map(|item| seed.deserialize(self.at.inner(item))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Members<'a> {
    at: At<'a>,
    /// The fields of a struct; `None` for a map with free keys.
    fields: Option<&'static [&'static str]>,
    rest: std::vec::IntoIter<&'a Member>,
    value: Option<&'a Node>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        for member in self.rest.by_ref() {
            let Some(fields) = self.fields else {
                self.value = Some(&member.value);
                return seed.deserialize(Key { at: self.at, member }).map(Some);
            };
            // An exact match wins over one in other case, as in Go.
            let field = fields
                .iter()
                .find(|f| **f == member.key)
                .or_else(|| fields.iter().find(|f| f.eq_ignore_ascii_case(&member.key)));
            if let Some(field) = field {
                self.value = Some(&member.value);
                let name: StrDeserializer<'_, DecodeError> = (*field).into_deserializer();
                return seed.deserialize(name).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        match self.value.take() {
            Some(node) => seed.deserialize(self.at.inner(node)),
            None => Err(serde::de::Error::custom("a value without its key")),
        }
    }
}

/// A key of a map with free keys: rendered like any string, or kept for later.
struct Key<'a> {
    at: At<'a>,
    member: &'a Member,
}

impl Key<'_> {
    fn render(&self) -> Result<String> {
        let how = &self.at.shared.how;
        how.renderer
            .render(&self.member.key, &RenderData::default())
            .map_err(|e| DecodeError(Box::new(Diagnostic::error(e.message).at(self.member.key_span.clone()))))
    }
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let text: StringDeserializer<DecodeError> = self.render()?.into_deserializer();
        text.deserialize_any(visitor).map_err(|e| e.at(self.member.key_span.as_ref()))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        if name != Deferred::MARK {
            return visitor.visit_newtype_struct(self);
        }
        deferred(self.at.shared, self.member.key.clone(), self.member.key_span.as_ref(), visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
