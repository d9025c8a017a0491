//! The classes, enumerations and registers of KMS, and what their parameters must look like.
//!
//! Not here: what the operations do (`invoke`).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::fault::Fault;
use super::wire;

/// Everything in `kurento.types`, read once for all servers of this process.
pub(super) static TYPES: LazyLock<Types> =
    LazyLock::new(|| Types::parse(include_str!("kurento.types")));

/// A parameter, or a member of a register.
#[derive(Debug)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) is_optional: bool,
}

/// An operation that is no getter or setter.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) params: Vec<Param>,
    /// Type of the result; `void` for none.
    pub(super) returns: &'static str,
}

/// A property of a class.
#[derive(Debug)]
pub(super) struct Property {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) is_writable: bool,
    /// The value of a new object.
    pub(super) initial: Value,
}

impl Property {
    /// The property as the one parameter of its setter.
    pub(super) fn as_param(&self) -> Param {
        Param { name: self.name, kind: self.kind, is_optional: false }
    }
}

/// A class of media objects.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) parent: Option<&'static str>,
    /// Constructor parameters; `None` for a class that cannot be created.
    pub(super) constructor: Option<Vec<Param>>,
    pub(super) methods: Vec<Method>,
    pub(super) properties: Vec<Property>,
    pub(super) events: Vec<&'static str>,
}

/// All that a KMS knows by name.
#[derive(Debug, Default)]
pub(super) struct Types {
    classes: BTreeMap<&'static str, Class>,
    enums: BTreeMap<&'static str, Vec<&'static str>>,
    registers: BTreeMap<&'static str, Vec<Param>>,
    /// Module -> classes that can be created, in alphabetical order.
    factories: BTreeMap<&'static str, Vec<&'static str>>,
    /// Class, enumeration or register -> its module.
    modules: BTreeMap<&'static str, &'static str>,
}

impl Types {
    /// The class called `name`, with or without the prefix `kurento.`.
    pub(super) fn class(&self, name: &str) -> Option<&Class> {
        self.classes.get(name.strip_prefix("kurento.").unwrap_or(name))
    }

    /// The class itself, then its parent and so on.
    pub(super) fn line<'a>(&'a self, class: &'a Class) -> impl Iterator<Item = &'a Class> {
        std::iter::successors(Some(class), |c| c.parent.and_then(|name| self.class(name)))
    }

    /// Whether `class` is `name` or descends from it.
    pub(super) fn is_a(&self, class: &Class, name: &str) -> bool {
        self.line(class).any(|c| c.name == name)
    }

    /// The operation `name` of `class`, its own before its parent's.
    pub(super) fn method<'a>(&'a self, class: &'a Class, name: &str) -> Option<&'a Method> {
        self.line(class).find_map(|c| c.methods.iter().find(|m| m.name == name))
    }

    /// The property that the operation `prefix` + its name with a capital reads or writes.
    pub(super) fn property<'a>(
        &'a self,
        class: &'a Class,
        operation: &str,
        prefix: &str,
    ) -> Option<&'a Property> {
        let capital = operation.strip_prefix(prefix)?;
        self.line(class).find_map(|c| c.properties.iter().find(|p| is_capital_of(capital, p.name)))
    }

    /// Whether objects of `class` raise `event`.
    pub(super) fn has_event(&self, class: &Class, event: &str) -> bool {
        self.line(class).any(|c| c.events.contains(&event))
    }

    /// What can be created, module by module.
    pub(super) fn factories(&self) -> &BTreeMap<&'static str, Vec<&'static str>> {
        &self.factories
    }

    /// The classes of `module`.
    pub(super) fn classes_of(&self, module: &str) -> impl Iterator<Item = &Class> {
        self.classes.values().filter(move |class| self.is_of(class.name, module))
    }

    /// The enumerations of `module` with their values.
    pub(super) fn enums_of(
        &self,
        module: &str,
    ) -> impl Iterator<Item = (&'static str, &[&'static str])> {
        let known = self.enums.iter().filter(move |(name, _)| self.is_of(name, module));
        known.map(|(name, values)| (*name, &values[..]))
    }

    /// The registers of `module` with their members.
    pub(super) fn registers_of(
        &self,
        module: &str,
    ) -> impl Iterator<Item = (&'static str, &[Param])> {
        let known = self.registers.iter().filter(move |(name, _)| self.is_of(name, module));
        known.map(|(name, members)| (*name, &members[..]))
    }

    fn is_of(&self, name: &str, module: &str) -> bool {
        self.modules.get(name) == Some(&module)
    }

    /// Checks `args`, which stood in the member `source`, against `params`.
    ///
    /// # Errors
    /// 40001 with the text KMS has for it.
    pub(super) fn check(
        &self,
        params: &[Param],
        args: Option<&Value>,
        source: &str,
    ) -> Result<Map<String, Value>, Fault> {
        let Some(Value::Object(args)) = args else {
            if params.iter().all(|p| p.is_optional) {
                return Ok(Map::new());
            }
            return Err(Fault::marshal(format!("'{source}' is required")));
        };
        for param in params {
            self.check_one(param, args, "parameter")?;
        }
        Ok(args.clone())
    }

    fn check_one(&self, param: &Param, args: &Map<String, Value>, what: &str) -> Result<(), Fault> {
        let Some(value) = args.get(param.name) else {
            if param.is_optional {
                return Ok(());
            }
            return Err(wrong(param.name, what, self.wanted(param.kind)));
        };
        if !self.fits(param.kind, value) {
            return Err(wrong(param.name, what, self.wanted(param.kind)));
        }
        if let Some(values) = self.enums.get(param.kind) {
            let is_known = value.as_str().is_some_and(|v| values.contains(&v));
            return if is_known {
                Ok(())
            } else {
                Err(Fault::marshal(format!("Invalid value for '{}'", param.kind)))
            };
        }
        if let Some(members) = self.registers.get(param.kind) {
            let empty = Map::new();
            let object = value.as_object().unwrap_or(&empty);
            members.iter().try_for_each(|member| self.check_one(member, object, "property"))?;
        }
        Ok(())
    }

    /// Whether jsoncpp can convert `value` to `kind`.
    fn fits(&self, kind: &str, value: &Value) -> bool {
        match kind {
            "int" | "int64" => match value {
                Value::Null | Value::Bool(_) => true,
                Value::Number(number) => number.as_f64().is_some_and(|n| n.fract() == 0.0),
                Value::String(_) | Value::Array(_) | Value::Object(_) => false,
            },
            "float" | "double" | "boolean" => {
                matches!(value, Value::Null | Value::Bool(_) | Value::Number(_))
            }
            _ if kind.ends_with("[]") => matches!(value, Value::Null | Value::Array(_)),
            _ if self.registers.contains_key(kind) => {
                matches!(value, Value::Null | Value::Object(_))
            }
            _ => wire::as_text(value).is_some(),
        }
    }

    fn wanted(&self, kind: &str) -> &'static str {
        match kind {
            "int" | "int64" => "a integer",
            "float" | "double" => "a double",
            "boolean" => "a boolean",
            _ if kind.ends_with("[]") => "a list",
            _ if self.registers.contains_key(kind) => "a object",
            _ => "a string",
        }
    }

    fn parse(text: &'static str) -> Self {
        let mut types = Self::default();
        let (mut module, mut class) = ("", "");
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let words: Vec<&'static str> = line.split_whitespace().collect();
            if !line.starts_with(' ') {
                class = words[1];
                types.modules.insert(class, module);
            }
            match words[0] {
                "module" => module = class,
                "enum" => drop(types.enums.insert(class, words[2..].to_vec())),
                "register" => drop(types.registers.insert(class, parse_params(&words[2..]))),
                "class" => drop(types.classes.insert(class, parse_class(&words))),
                _ => {
                    let class = types.classes.get_mut(class).expect("members follow a class");
                    parse_member(class, &words);
                    if words[0] == "new" {
                        types.factories.entry(module).or_default().push(class.name);
                    }
                }
            }
        }
        types.factories.values_mut().for_each(|names| names.sort_unstable());
        types
    }
}

fn wrong(name: &str, what: &str, wanted: &str) -> Fault {
    Fault::marshal(format!("'{name}' {what} should be {wanted}"))
}

/// Whether `capital` is `name` with its first letter made a capital.
fn is_capital_of(capital: &str, name: &str) -> bool {
    let (Some(first), Some(initial)) = (capital.chars().next(), name.chars().next()) else {
        return false;
    };
    first == initial.to_ascii_uppercase() && capital.get(1..) == name.get(1..)
}

fn parse_class(words: &[&'static str]) -> Class {
    let parent = words.iter().position(|word| *word == "extends").map(|at| words[at + 1]);
    Class {
        name: words[1],
        parent,
        constructor: None,
        methods: Vec::new(),
        properties: Vec::new(),
        events: Vec::new(),
    }
}

fn parse_member(class: &mut Class, words: &[&'static str]) {
    match words[0] {
        "new" => class.constructor = Some(parse_params(&words[1..])),
        "event" => class.events.extend(&words[1..]),
        "call" => {
            let params = parse_params(&words[2..words.len() - 2]);
            let returns = words[words.len() - 1];
            class.methods.push(Method { name: words[1], params, returns });
        }
        access => {
            let (name, rest) = words[1].split_once(':').expect("a property has a type");
            let (kind, initial) = rest.split_once('=').unwrap_or((rest, ""));
            class.properties.push(Property {
                name,
                kind,
                is_writable: access == "var",
                initial: wire::read(initial).unwrap_or_else(|| zero(kind)),
            });
        }
    }
}

fn parse_params(words: &[&'static str]) -> Vec<Param> {
    let parse = |word: &&'static str| {
        let (name, kind) = word.split_once(':').expect("a parameter has a type");
        let (name, is_optional) = name.strip_suffix('?').map_or((name, false), |n| (n, true));
        Param { name, kind, is_optional }
    };
    words.iter().map(parse).collect()
}

/// What an operation that is not modelled returns: nothing in the sense of its type.
pub(super) fn zero(kind: &str) -> Value {
    match kind {
        "String" => "".into(),
        "int" | "int64" => 0.into(),
        "float" | "double" => 0.0.into(),
        "boolean" => false.into(),
        _ if kind.ends_with("[]") => Value::Array(Vec::new()),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_web_rtc_endpoint_has_what_its_parents_have() {
        let class = TYPES.class("kurento.WebRtcEndpoint").unwrap();
        let line: Vec<&str> = TYPES.line(class).map(|c| c.name).collect();
        assert_eq!(
            line,
            [
                "WebRtcEndpoint",
                "BaseRtpEndpoint",
                "SdpEndpoint",
                "SessionEndpoint",
                "Endpoint",
                "MediaElement",
                "MediaObject"
            ]
        );
        assert!(TYPES.method(class, "addTag").is_some());
        assert!(TYPES.property(class, "setStunServerAddress", "set").unwrap().is_writable);
        assert!(!TYPES.property(class, "getICECandidatePairs", "get").unwrap().is_writable);
        assert!(TYPES.has_event(class, "Error") && !TYPES.has_event(class, "EndOfStream"));
        assert!(TYPES.method(TYPES.class("MediaPipeline").unwrap(), "connect").is_none());
    }

    #[test]
    fn every_type_that_is_named_is_known() {
        let known = |kind: &str| {
            let kind = kind.trim_end_matches("[]").trim_end_matches("<>");
            matches!(kind, "String" | "int" | "int64" | "float" | "double" | "boolean" | "void")
                || kind == "Stats"
                || TYPES.classes.contains_key(kind)
                || TYPES.enums.contains_key(kind)
                || TYPES.registers.contains_key(kind)
        };
        for class in TYPES.classes.values() {
            assert!(class.parent.is_none_or(|parent| TYPES.classes.contains_key(parent)));
            assert!(class.properties.iter().all(|p| known(p.kind)), "{}", class.name);
            for method in &class.methods {
                assert!(known(method.returns), "{}", method.name);
                assert!(method.params.iter().all(|p| known(p.kind)), "{}", method.name);
            }
        }
    }

    #[test]
    fn parameters_are_checked_in_their_order() {
        let class = TYPES.class("WebRtcEndpoint").unwrap();
        let params = &TYPES.method(class, "addTag").unwrap().params;
        let text = |args: Option<Value>| {
            let fault = TYPES.check(params, args.as_ref(), "operationParams").unwrap_err();
            fault.to_value()["message"].as_str().unwrap().to_owned()
        };
        assert_eq!(text(None), "'operationParams' is required");
        assert_eq!(text(Some(json!({}))), "'key' parameter should be a string");
        assert_eq!(text(Some(json!({ "key": 1 }))), "'value' parameter should be a string");
    }
}
