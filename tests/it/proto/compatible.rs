//! Whether a client that knows one description of a service gets on with a server that has another.
//!
//! Messages are found by name, as methods refer to them; fields and values by number, as bytes do. What is new
//! breaks nobody; what is gone, renumbered, renamed or of another type does: names are what the JSON form, and
//! generated code, go by. Defaults, options and comments are not looked at.

use std::collections::BTreeMap;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
};

/// All that can be broken, by its full name and number, in words that are equal as long as it is not.
fn promises(files: &FileDescriptorSet) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for file in &files.file {
        let package = file.package();
        file.service.iter().for_each(|service| of_service(package, service, &mut found));
        file.enum_type.iter().for_each(|one| of_enum(package, one, &mut found));
        let mut open: Vec<(String, &DescriptorProto)> =
            file.message_type.iter().map(|message| (package.to_owned(), message)).collect();
        while let Some((outer, message)) = open.pop() {
            let name = format!("{outer}.{}", message.name());
            found.insert(format!("message {name}"), String::new());
            for field in &message.field {
                found.insert(format!("field {} of {name}", field.number()), words(field, message));
            }
            message.enum_type.iter().for_each(|one| of_enum(&name, one, &mut found));
            open.extend(message.nested_type.iter().map(|inner| (name.clone(), inner)));
        }
    }
    found
}

fn words(field: &FieldDescriptorProto, message: &DescriptorProto) -> String {
    let alternative = field
        .oneof_index
        .and_then(|index| message.oneof_decl.get(usize::try_from(index).unwrap()))
        .map_or("", |oneof| oneof.name());
    format!(
        "{} {:?} {:?} {} {alternative}",
        field.name(),
        field.label(),
        field.r#type(),
        field.type_name()
    )
}

fn of_enum(outer: &str, one: &EnumDescriptorProto, found: &mut BTreeMap<String, String>) {
    for value in &one.value {
        let place = format!("value {} of {outer}.{}", value.number(), one.name());
        found.insert(place, value.name().to_owned());
    }
}

fn of_service(
    package: &str,
    service: &ServiceDescriptorProto,
    found: &mut BTreeMap<String, String>,
) {
    for method in &service.method {
        let streams = (method.client_streaming(), method.server_streaming());
        let says = format!("{} -> {} {streams:?}", method.input_type(), method.output_type());
        found.insert(format!("method {} of {package}.{}", method.name(), service.name()), says);
    }
}

/// What of the old no longer holds in the new.
pub(super) fn broken(old: &FileDescriptorSet, new: &FileDescriptorSet) -> Vec<String> {
    let new = promises(new);
    let changed = promises(old).into_iter().filter_map(|(place, was)| match new.get(&place) {
        None => Some(format!("{place} is gone ({was})")),
        Some(is) if *is != was => Some(format!("{place} was {was}, is {is}")),
        Some(_) => None,
    });
    changed.collect()
}

/// The description of a file with one thing changed in its text.
fn with(from: &str, to: &str) -> FileDescriptorSet {
    const FILE: &str = r#"
        syntax = "proto3";
        package shop.v1;
        service Shop { rpc Buy(Order) returns (Order); rpc Watch(Order) returns (stream Order); }
        enum Colour { COLOUR_UNSPECIFIED = 0; COLOUR_RED = 1; }
        message Order {
          uint64 id = 1;
          repeated string items = 2;
          Colour colour = 3;
          optional double price = 4;
          message Line { string text = 1; }
          Line line = 5;
        }
    "#;
    assert!(from.is_empty() || FILE.contains(from), "{from}");
    let text = if from.is_empty() { FILE.to_owned() } else { FILE.replace(from, to) };
    let file = protox::file::File::from_source("shop.proto", &text).unwrap();
    FileDescriptorSet { file: vec![file.file_descriptor_proto().clone()] }
}

#[test]
fn what_breaks_a_client_is_found() {
    for (from, to, part) in [
        ("uint64 id = 1;", "", "field 1 of shop.v1.Order is gone"),
        ("uint64 id = 1;", "uint64 id = 9;", "field 1 of shop.v1.Order is gone"),
        ("uint64 id", "int64 id", "field 1 of shop.v1.Order was"),
        ("uint64 id", "uint64 number", "field 1 of shop.v1.Order was"),
        ("repeated string", "string", "field 2 of shop.v1.Order was"),
        ("optional double", "double", "field 4 of shop.v1.Order was"),
        ("Colour colour", "string colour", "field 3 of shop.v1.Order was"),
        ("string text = 1;", "", "field 1 of shop.v1.Order.Line is gone"),
        ("COLOUR_RED = 1;", "", "value 1 of shop.v1.Colour is gone"),
        ("COLOUR_RED = 1", "COLOUR_RED = 2", "value 1 of shop.v1.Colour is gone"),
        ("COLOUR_RED", "COLOUR_BLUE", "value 1 of shop.v1.Colour was"),
        ("rpc Buy(Order) returns (Order);", "", "method Buy of shop.v1.Shop is gone"),
        ("returns (stream Order)", "returns (Order)", "method Watch of shop.v1.Shop was"),
        ("package shop.v1", "package shop.v2", "message shop.v1.Order is gone"),
    ] {
        let broken = broken(&with("", ""), &with(from, to));
        assert!(broken.iter().any(|one| one.starts_with(part)), "{from} -> {to}: {broken:?}");
    }
}

#[test]
fn what_is_new_breaks_nobody() {
    for (from, to) in [
        ("", ""),
        ("uint64 id = 1;", "uint64 id = 1; string note = 6;"),
        ("COLOUR_RED = 1;", "COLOUR_RED = 1; COLOUR_BLUE = 2;"),
        ("service Shop {", "service Shop { rpc Sell(Order) returns (Order);"),
        ("enum Colour", "message Customer { string name = 1; } enum Colour"),
    ] {
        assert_eq!(broken(&with("", ""), &with(from, to)), [""; 0], "{from} -> {to}");
    }
}
