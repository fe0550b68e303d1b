//! Every `ProductionService` that a page shows can be applied as it stands there.

use crate::{bed_with_namespace, repository};

const NAMESPACE: &str = "docs";
/// Fewest blocks, so that a lost page is not a passed test.
const BLOCKS: usize = 9;

#[tokio::test]
async fn every_service_in_the_docs_can_be_applied() {
    let bed = bed_with_namespace(NAMESPACE).await;
    let blocks = blocks();
    assert!(blocks.len() >= BLOCKS, "only {} blocks", blocks.len());
    for (place, block) in blocks {
        let arguments = ["apply", "--validate=strict", "--namespace", NAMESPACE, "--filename=-"];
        let answer = bed.kubectl_with_input(&arguments, &block).await.unwrap_or_else(|error| panic!("{place}: {error:#}"));
        assert!(answer.contains("productionservice.plimsoll.dev/"), "{place}: {answer}");
    }
}

/// The YAML blocks with a `ProductionService` in them, each with its place (`docs/rollouts.md:12`).
fn blocks() -> Vec<(String, String)> {
    let docs = std::fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.chain(["README.md", "CONTRIBUTING.md", "charts/plimsoll/README.md"].map(|page| repository().join(page)));
    let mut blocks = Vec::new();
    for page in pages.filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(&page).unwrap();
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            if line.trim_start().starts_with("```yaml") {
                let block: Vec<&str> =
                    lines.by_ref().map(|(_, line)| line).take_while(|line| !line.trim_start().starts_with("```")).collect();
                blocks.push((format!("{}:{}", page.display(), number + 1), block.join("\n")));
            }
        }
    }
    blocks.retain(|(_, block)| block.contains("kind: ProductionService"));
    blocks
}
