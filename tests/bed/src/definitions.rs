//! Custom resource definitions, installed so that every client can use them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::Bed;

const LIMIT: Duration = Duration::from_secs(120);

impl Bed {
    /// Applies the definitions in a file or folder, and waits until the API server serves, discovers and explains them.
    ///
    /// # Errors
    /// When one is refused, or not all is served within two minutes.
    pub async fn define(&self, files: &Path) -> Result<()> {
        let files = files.to_str().context("the name of the definitions' folder is not text")?;
        self.kubectl(&["apply", "--filename", files]).await?;
        // kubectl's own wait fails where there is no condition at all yet, so it is asked again.
        self.until_answered(&["wait", "--for=condition=Established", "--filename", files, "--timeout=10s"]).await?;
        let found = self.kubectl(&["get", "--filename", files, "--output=json"]).await?;
        let found: Value = serde_json::from_str(&found).context("kubectl answered no JSON")?;
        // One object comes alone, several in a list.
        let definitions = found["items"].as_array().map_or(std::slice::from_ref(&found), Vec::as_slice);
        for definition in definitions {
            let spec = &definition["spec"];
            let name = |field: &Value| field.as_str().unwrap_or_default().to_owned();
            let (group, plural) = (name(&spec["group"]), name(&spec["names"]["plural"]));
            let versions = spec["versions"].as_array().map_or(&[] as &[Value], Vec::as_slice);
            for version in versions.iter().filter(|version| version["served"] == true) {
                // Established is not yet explained: the API server asks its own parts once a second which groups they describe. And kubectl
                // keeps what it has read, so it is kubectl that is asked.
                let api_version = format!("--api-version={group}/{}", name(&version["name"]));
                self.until_answered(&["explain", &plural, &api_version]).await?;
            }
        }
        Ok(())
    }

    /// Runs kubectl until it succeeds.
    async fn until_answered(&self, arguments: &[&str]) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while let Err(error) = self.kubectl(arguments).await {
            if Instant::now() > deadline {
                bail!("after {} s: {error:#}", LIMIT.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}
