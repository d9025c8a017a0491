//! The description of a module, in the form of a real one but without its prose.

use serde_json::{Map, Value, json};

use super::types::{Class, Method, Param, Property, TYPES};

/// What the modules call themselves in their descriptions.
const VERSION: &str = "7.3.1-dev";

/// The description of `module` as text: JSON with its members in the order of a real one. `None` if
/// there is no such module.
pub(super) fn describe(module: &str) -> Option<String> {
    if !TYPES.factories().contains_key(module) {
        return None;
    }
    let classes: Vec<Value> = TYPES.classes_of(module).map(of_class).collect();
    let enums = TYPES
        .enums_of(module)
        .map(|(name, values)| json!({ "name": name, "typeFormat": "ENUM", "values": values }));
    let registers = TYPES.registers_of(module).map(|(name, members)| {
        json!({ "name": name, "typeFormat": "REGISTER", "properties": params(members) })
    });
    let types: Vec<Value> = enums.chain(registers).collect();
    let imports = match module {
        "core" => Value::Array(Vec::new()),
        _ => json!([{ "name": "core", "version": "^7.0.0" }]),
    };
    let code = json!({ "implementation": { "cppNamespace": "kurento", "lib": format!("libkms{module}") } });
    Some(format!(
        "{{\"name\": \"{module}\",\"version\": \"{VERSION}\",\"kurentoVersion\": \"{VERSION}\",\
         \"imports\": {imports},\"code\": {code},\"remoteClasses\": {},\"complexTypes\": {}}}",
        Value::Array(classes),
        Value::Array(types),
    ))
}

fn of_class(class: &Class) -> Value {
    let mut described = Map::from_iter([("name".to_owned(), class.name.into())]);
    let mut add = |name: &str, value: Value| drop(described.insert(name.to_owned(), value));
    if let Some(parent) = class.parent {
        add("extends", parent.into());
    }
    match &class.constructor {
        Some(constructor) => add("constructor", json!({ "params": params(constructor) })),
        None => add("abstract", true.into()),
    }
    add("properties", class.properties.iter().map(of_property).collect());
    add("methods", class.methods.iter().map(of_method).collect());
    add("events", class.events.clone().into());
    Value::Object(described)
}

fn of_property(property: &Property) -> Value {
    json!({ "name": property.name, "type": property.kind, "readOnly": !property.is_writable })
}

fn of_method(method: &Method) -> Value {
    let mut described = json!({ "name": method.name, "params": params(&method.params) });
    if method.returns != "void" {
        described["return"] = json!({ "type": method.returns });
    }
    described
}

fn params(params: &[Param]) -> Value {
    let of = |param: &Param| {
        let mut described = json!({ "name": param.name, "type": param.kind });
        if param.is_optional {
            described["optional"] = true.into();
        }
        described
    };
    params.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_holds_the_classes_and_types_of_its_module() {
        let read =
            |module: &str| -> Value { serde_json::from_str(&describe(module).unwrap()).unwrap() };
        let names = |list: &Value| -> Vec<String> {
            list.as_array()
                .unwrap()
                .iter()
                .map(|v| v["name"].as_str().unwrap().to_owned())
                .collect()
        };
        let core = read("core");
        assert!(names(&core["remoteClasses"]).contains(&"MediaElement".to_owned()));
        assert!(names(&core["complexTypes"]).contains(&"MediaType".to_owned()));
        let elements = read("elements");
        let classes = elements["remoteClasses"].as_array().unwrap();
        let player = classes.iter().find(|c| c["name"] == "PlayerEndpoint").unwrap();
        assert_eq!(player["extends"], "UriEndpoint");
        assert_eq!(player["constructor"]["params"][1]["name"], "uri");
        assert!(!names(&elements["remoteClasses"]).contains(&"MediaElement".to_owned()));
        assert_eq!(describe("nosuchmodule"), None);
    }
}
