//! What the Gateways of a cluster can do: which fields its routes have, and what a Gateway's class lists. Looked up for services that ask for more than every
//! Gateway has, and not again for ten minutes; sooner while a service waits for a field that routes do not have yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Context;
use super::clock::Clock;
use crate::api::ProductionServiceSpec;
use crate::decide::traffic::Routing;
use crate::decide::traffic::features::{self, Class, Listed};

/// For so long what was found is taken to be true.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// A class, or why it is not known, and when that was found.
type Found = (Timestamp, Result<Class, String>);

/// What was found, and when.
#[derive(Debug, Default)]
pub struct Gateways {
    classes: Mutex<BTreeMap<String, Found>>,
    fields: Mutex<Option<(Timestamp, BTreeSet<String>)>>,
}

impl Gateways {
    /// Looks up what matters to a service of this namespace, if anything does.
    pub async fn complete(context: &Context, routing: &mut Routing, namespace: &str, spec: &ProductionServiceSpec) {
        if !routing.known || features::asked(spec).is_empty() {
            return;
        }
        routing.fields = context.gateways.fields(context, &features::fields(spec)).await;
        let Some(gateway) = spec.expose.as_ref().and_then(|expose| expose.gateway.as_ref()) else { return };
        let (elsewhere, name) = routing.place(gateway);
        let namespace = elsewhere.unwrap_or_else(|| namespace.to_owned());
        let key = format!("{namespace}/{name}");
        let class = context.gateways.class(context, &key, &namespace, &name).await;
        routing.listed = Listed::from([(key, class)]);
    }

    async fn class(&self, context: &Context, key: &str, namespace: &str, name: &str) -> Result<Class, String> {
        if !context.settings.read_gateways {
            return Err("the operator does not read Gateways (chart value readGateways)".to_owned());
        }
        let now = Clock.now();
        let known = self.classes.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some((_, found)) = known.filter(|(at, _)| now.duration_since(*at) < FRESH) {
            return found;
        }
        let found = match context.access.gateway_class(namespace, name).await {
            Ok(Some(class)) => Ok(read(&class)),
            Ok(None) => Err(format!("there is no Gateway {key}, or it has no class")),
            Err(error) => Err(format!("the class of Gateway {key} cannot be read: {error}")),
        };
        self.classes.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), (now, found.clone()));
        found
    }

    /// Fields of a rule of an `HTTPRoute`, and theirs; `None`: not known. What was known stays while nothing newer can be read. A definition that has not all that are `needed` may be replaced any moment.
    async fn fields(&self, context: &Context, needed: &BTreeSet<&str>) -> Option<BTreeSet<String>> {
        let now = Clock.now();
        let known = self.fields.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lasts =
            |found: &BTreeSet<String>| if needed.iter().all(|field| found.contains(*field)) { FRESH } else { features::LOOK_AGAIN / 2 };
        if let Some((at, found)) = &known
            && now.duration_since(*at) < lasts(found)
        {
            return Some(found.clone());
        }
        let Some(found) = context.access.route_fields().await.ok().flatten() else { return known.map(|(_, found)| found) };
        *self.fields.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, found.clone()));
        Some(found)
    }
}

fn read(class: &Value) -> Class {
    let listed = class.pointer("/status/supportedFeatures").and_then(Value::as_array).into_iter().flatten();
    // Objects since 1.1, names before.
    let features = listed.filter_map(|feature| feature["name"].as_str().or(feature.as_str())).map(str::to_owned);
    Class { name: class["metadata"]["name"].as_str().unwrap_or_default().to_owned(), features: features.collect() }
}
