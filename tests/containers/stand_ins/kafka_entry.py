"""Starts Kafka in a container by its environment, as the official image does, as far as compose.yaml uses that.

`KAFKA_A_B` is the property `a.b` (`__` is `_`, `___` is `-`), written behind those of a server.properties that is
mounted at /mnt/shared/config. CLUSTER_ID must be given. An advertised listener named `…SSL` would have to come with a
keystore by file name, which this does not know: it refuses, instead of starting what the official image would not.
"""

import os
import subprocess
import sys
from pathlib import Path

NOT_PROPERTIES = {"KAFKA_VERSION", "KAFKA_HEAP_OPTS", "KAFKA_OPTS", "KAFKA_JMX_OPTS", "KAFKA_LOG4J_OPTS"}
MOUNTED, FINAL = Path("/mnt/shared/config/server.properties"), Path("/opt/kafka/config/server.properties")
JAVA = ["java", "-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", "/opt/kafka/libs/*"]


def named(variable: str) -> str:
    """The property of a variable."""
    name = variable.removeprefix("KAFKA_").lower()
    return name.replace("___", "-").replace("__", "\0").replace("_", ".").replace("\0", "_")


def main() -> None:
    if "SSL://" in os.environ.get("KAFKA_ADVERTISED_LISTENERS", ""):
        sys.exit("an advertised listener is named …SSL://: give KAFKA_SSL_KEYSTORE_FILENAME, which this does not know")
    cluster = os.environ.get("CLUSTER_ID") or sys.exit("CLUSTER_ID environment variable not set")
    of_environment = {n: v for n, v in os.environ.items() if n.startswith("KAFKA_") and n not in NOT_PROPERTIES}
    lines = [MOUNTED.read_text() if MOUNTED.exists() else ""]
    FINAL.write_text("\n".join([*lines, *(f"{named(name)}={value}" for name, value in of_environment.items()), ""]))
    storage = [
        "kafka.tools.StorageTool",
        "format",
        f"--cluster-id={cluster}",
        f"--config={FINAL}",
        "--ignore-formatted",
    ]
    subprocess.run([*JAVA, *storage], check=True)
    os.execvp("java", [*JAVA, "kafka.Kafka", str(FINAL)])


if __name__ == "__main__":
    main()
