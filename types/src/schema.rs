//! Schemas and examples of types: the schemas state the limits that the parsers enforce.

/// Implements the schema of a type that is parsed from text, with its limits.
macro_rules! text {
    ($type:ty $(, $limit:ident = $value:expr)*) => {
        impl ::utoipa::PartialSchema for $type {
            fn schema() -> ::utoipa::openapi::RefOr<::utoipa::openapi::schema::Schema> {
                use ::utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

                ObjectBuilder::new()
                    .schema_type(SchemaType::Type(Type::String))
                    $(.$limit(Some($value)))*
                    .into()
            }
        }

        impl ::utoipa::ToSchema for $type {}
    };
}

/// Reads an example from a JSON file in `examples/`.
macro_rules! example {
    ($file:literal) => {{
        // The file is compiled in, and a test parses every example.
        serde_json::from_str::<serde_json::Value>(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/examples/",
            $file
        )))
        .unwrap_or_default()
    }};
}

pub(crate) use {example, text};
