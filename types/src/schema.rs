//! Schemas of values that are parsed: what the description says of their limits is what the parser holds them to.

/// The schema of a value that is parsed from text, with its limits.
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

/// An example that is kept as JSON.
macro_rules! example {
    ($file:literal) => {{
        // The example is part of the program, and a test reads each.
        serde_json::from_str::<serde_json::Value>(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/examples/",
            $file
        )))
        .unwrap_or_default()
    }};
}

pub(crate) use {example, text};
