# The jars of a real Kafka broker, which the demo and the tests run; sourced by scripts/deps.

kafka_version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$root/scripts/kafka/pom.xml")
kafka_id=$kafka_version-$(sha256sum "$pins/kafka-jars.sha256" | cut -c 1-12)
kafka_store=$cache/kafka-$kafka_id

kafka_what() { printf 'the jars of Kafka %s' "$kafka_version"; }
kafka_plan() { printf 'collect the jars of a Kafka %s broker into .deps/kafka/lib (43 MB from Maven Central)' "$kafka_version"; }
kafka_tools() { command -v mvn >/dev/null || printf 'maven\n'; }
kafka_ready() { marked "$deps/kafka" "$kafka_id"; }
kafka_cached() { marked "$kafka_store" "$kafka_id"; }
kafka_forget() { rm -rf "$deps/kafka" "$kafka_store"; }
kafka_adopt() { adopt "$kafka_store" "$deps/kafka"; }

# A local repository of its own: Maven's plugins are not needed afterwards.
collect_jars() {
  local folder=$1
  timeout 600 mvn -B -ntp -q -f "$root/scripts/kafka/pom.xml" -Dmaven.repo.local="$folder/m2" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$folder/prefix/lib"
  # Every jar is one of the pinned ones, and none is missing.
  (cd "$folder/prefix/lib" && sha256sum --quiet -c "$pins/kafka-jars.sha256" &&
    [ "$(ls | wc -l)" = "$(wc -l <"$pins/kafka-jars.sha256")" ])
}

kafka_fetch() {
  local folder
  folder=$(scratch kafka)
  need_space "$folder" 300 "Kafka"
  step kafka "Collecting the jars of Kafka $kafka_version" \
    "Check that Maven reaches Maven Central (settings in ~/.m2/settings.xml)." collect_jars "$folder"
  printf '%s' "$kafka_id" >"$folder/prefix/.ziyu"
  rm -rf "$kafka_store"
  mv "$folder/prefix" "$kafka_store"
  rm -rf "$folder"
}
