"""Write page.html, in which `dvc plots show` and `dvc plots diff` put their charts: the scripts inline, no network.

Run it with npm at hand after changing it or a version: ``python .dvc/make_page.py``. DVC fills ``{plot_divs}``; its own
scripts, from a CDN, are left out because ``{scripts}`` is.
"""

import subprocess
import tarfile
import tempfile
from pathlib import Path

# Vega-Lite 5 is what the templates of DVC and those in .dvc/plots are written in.
PACKAGES = {"vega": "5.33.1", "vega-lite": "5.23.0", "vega-embed": "6.29.0"}
PAGE = """<!DOCTYPE html>
<!--
Made by make_page.py: do not edit.
It carries %(versions)s, with the license below (BSD-3-Clause).
In them are parts of d3 and topojson (ISC), fast-json-patch (MIT), semver (ISC) and tslib (0BSD).

%(license)s
-->
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh_tag}
<title>Plots</title>
<style>
body { margin: 1.5rem; background: #f5f5f3; color: #222; font: 14px/1.45 system-ui, sans-serif; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%%, 660px), 1fr)); gap: 1rem; }
main > div { box-sizing: border-box; min-width: 0; padding: 1rem; border: 1px solid #ddd !important; border-radius: 6px;
  background: #fff; overflow-x: auto; text-align: left !important; white-space: normal !important; }
main > div p { margin: 0 0 .4rem; color: #555; }
main > div > div { margin: 0 0 .6rem !important; border: 0 !important; }
main img { display: block; max-width: 100%%; height: auto; }
.problem { margin: 0 0 1rem; padding: .6rem 1rem; border-left: 4px solid #D55E00; background: #fff; }
</style>
</head>
<body>
<noscript><p class="problem">The charts need JavaScript, which is off. The pictures below don't.</p></noscript>
<p class="problem" id="problem">The charts are not drawn: the scripts in this page did not run.</p>
<script>
function tell(text) {
  const line = document.getElementById("problem");
  line.hidden = false;
  line.textContent = text;
}
window.addEventListener("error", (event) => tell("A chart can't be drawn: " + event.message));
</script>
%(scripts)s
<script>
document.getElementById("problem").hidden = true;
const embed = vegaEmbed;
const options = {
  renderer: "svg",
  actions: { export: true, source: true, compiled: false, editor: false },
  config: { axis: { labelFontSize: 12, titleFontSize: 12 }, legend: { labelFontSize: 12 }, title: { fontSize: 14 } },
};
// DVC calls it for each chart: all of one size, which the cards fit, and a chart that fails says so.
vegaEmbed = (place, chart) => {
  if (Object.keys(chart).length === 0) {
    document.querySelector(place).textContent = place.slice(1) + ": no points in these revisions.";
    return;
  }
  const size = "width" in chart ? { width: 400, height: 300 } : {};
  const failed = (error) => tell(place.slice(1) + " can't be drawn: " + error.message);
  embed(place, { ...chart, ...size }, options).catch(failed);
};
</script>
<main>
{plot_divs}
</main>
</body>
</html>
"""


def fetched(name: str, version: str, folder: Path) -> tuple[str, str]:
    """Return the minified script of an npm package, and its license ("" where the package has none)."""
    subprocess.run(["npm", "pack", "--silent", f"{name}@{version}"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(folder / f"{name}-{version}.tgz") as archive:
        names = archive.getnames()
        texts = [
            archive.extractfile(path).read().decode() if path in names else ""  # type: ignore[union-attr]
            for path in (f"package/build/{name}.min.js", "package/LICENSE")
        ]
    script = "\n".join(line for line in texts[0].splitlines() if not line.startswith("//# sourceMappingURL"))
    assert script and "</script" not in script, f"{name}: its script can't stand in a page"
    return script, texts[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        parts = [fetched(name, version, Path(folder)) for name, version in PACKAGES.items()]
    page = PAGE % {
        "versions": ", ".join(f"{name} {version}" for name, version in PACKAGES.items()),
        "license": parts[-1][1].strip(),
        "scripts": "\n".join(f"<script>\n{script}\n</script>" for script, _ in parts),
    }
    (Path(__file__).parent / "page.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
