//! The view `rules`: the shipped rules and the store's, read when somebody asks for them.

use std::sync::Arc;

use arrow::array::{BooleanBuilder, ListBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::{DataFusionError, Result};
use wsp_schemas::store::Store;

use super::made::Rows;
use crate::rules::{self, Origin};
use crate::session;

/// Columns, with what they mean.
pub(super) const COLUMNS: [(&str, &str); 8] = [
    ("rule", "Id: what signals and suppressions name it by."),
    ("title", "One line for people."),
    ("severity", "`low`, `medium`, `high` or `critical`."),
    ("techniques", "MITRE ATT&CK techniques."),
    ("description", "What it means, and what to look at."),
    ("suppressible", "Whether a suppression may hide its signals."),
    ("predicate", "What it matches: SQL over the columns of `behaviour`."),
    ("origin", "`shipped`, or the object of the store that it is from."),
];

#[derive(Debug)]
pub(super) struct RulesTable {
    store: Store,
    schema: SchemaRef,
}

impl RulesTable {
    pub(super) fn of(store: &Store) -> Self {
        let fields = COLUMNS.map(|(name, _)| match name {
            "techniques" => Field::new_list(name, Field::new("item", DataType::Utf8, true), false),
            "suppressible" => Field::new(name, DataType::Boolean, false),
            _ => Field::new(name, DataType::Utf8, false),
        });
        Self { store: store.clone(), schema: Arc::new(Schema::new(fields.to_vec())) }
    }
}

#[async_trait]
impl Rows for RulesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn rows(&self, _session: &dyn Session) -> Result<RecordBatch> {
        let context = session::new(&session::Resources::default())?;
        let rules = rules::load(&context, Some(&self.store), &[]).await;
        let rules = rules.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let mut texts: [StringBuilder; 6] = Default::default();
        let mut techniques = ListBuilder::new(StringBuilder::new());
        let mut suppressible = BooleanBuilder::new();
        for rule in rules.iter() {
            let origin = match &rule.origin {
                Origin::Shipped => "shipped",
                Origin::User(path) => path,
            };
            let row = [
                &*rule.id,
                &rule.title,
                rule.severity.as_str(),
                &rule.description,
                rule.predicate.text(),
                origin,
            ];
            texts.iter_mut().zip(row).for_each(|(column, text)| column.append_value(text));
            techniques.append_value(rule.techniques.iter().map(Some));
            suppressible.append_value(rule.suppressible);
        }
        let [id, title, severity, description, predicate, origin] = texts.map(|mut column| column.finish());
        Ok(RecordBatch::try_new(
            Arc::clone(&self.schema),
            vec![
                Arc::new(id),
                Arc::new(title),
                Arc::new(severity),
                Arc::new(techniques.finish()),
                Arc::new(description),
                Arc::new(suppressible.finish()),
                Arc::new(predicate),
                Arc::new(origin),
            ],
        )?)
    }
}
