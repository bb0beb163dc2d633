//! Macro for whole numbers with a minimum and a maximum.

/// Defines a whole number with a minimum and a maximum: a type that checks both while it is parsed,
/// and a schema that states both.
macro_rules! bounded {
    ($(#[$attribute:meta])* $name:ident($number:ty) $min:literal ..= $max:expr) => {
        $(#[$attribute])*
        #[derive(
            Clone, Copy, Debug, Eq, PartialEq, ::serde::Deserialize, ::serde::Serialize,
        )]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name($number);

        impl $name {
            const MIN: $number = $min;
            const MAX: $number = $max;

            /// Value as a plain number.
            #[must_use]
            pub const fn get(self) -> $number {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = crate::Invalid;

            fn try_from(number: u64) -> Result<Self, crate::Invalid> {
                match <$number>::try_from(number) {
                    Ok(number) if (Self::MIN..=Self::MAX).contains(&number) => Ok(Self(number)),
                    _ => Err(crate::Invalid(format!(
                        "must be {} to {}, not {number}",
                        Self::MIN,
                        Self::MAX
                    ))),
                }
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = crate::Invalid;

            fn from_str(text: &str) -> Result<Self, crate::Invalid> {
                let number: Option<u64> = text.parse().ok();
                number.and_then(|number| number.try_into().ok()).ok_or_else(|| {
                    crate::Invalid(format!("must be {} to {}", Self::MIN, Self::MAX))
                })
            }
        }

        impl From<$name> for u64 {
            fn from(number: $name) -> Self {
                number.0.into()
            }
        }

        impl ::utoipa::PartialSchema for $name {
            fn schema() -> ::utoipa::openapi::RefOr<::utoipa::openapi::schema::Schema> {
                use ::utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

                ObjectBuilder::new()
                    .schema_type(SchemaType::Type(Type::Integer))
                    .minimum(Some(u64::from(Self::MIN)))
                    .maximum(Some(u64::from(Self::MAX)))
                    .into()
            }
        }

        impl ::utoipa::ToSchema for $name {}
    };
}

pub(crate) use bounded;
