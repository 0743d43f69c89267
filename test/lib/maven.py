"""Fetches Java libraries by their coordinates with Maven, once per machine."""
import os
import pathlib
import subprocess

CACHE = pathlib.Path(os.environ.get("WEIR_JARS", pathlib.Path.home() / ".cache/weir/jars"))


def jar(coordinates):
    """Path of the jar of group:artifact:version."""
    _, artifact, version = coordinates.split(":")
    path = CACHE / f"{artifact}-{version}.jar"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={coordinates}", f"-DoutputDirectory={CACHE}"],
                       check=True, timeout=600)
    return path


def closure(coordinates):
    """Paths of the jar of group:artifact:version and of all that it needs at run time."""
    group, artifact, version = coordinates.split(":")
    folder = CACHE / f"{artifact}-{version}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pom.xml").write_text(
            "<project><modelVersion>4.0.0</modelVersion><groupId>weir</groupId><artifactId>closure</artifactId>"
            f"<version>1</version><dependencies><dependency><groupId>{group}</groupId><artifactId>{artifact}"
            f"</artifactId><version>{version}</version></dependency></dependencies></project>")
        subprocess.run(["mvn", "-q", "-B", "-f", str(folder / "pom.xml"), "dependency:copy-dependencies",
                        f"-DoutputDirectory={folder}", "-DincludeScope=runtime"], check=True, timeout=900)
        (folder / "complete").touch()
    return sorted(folder.glob("*.jar"))
