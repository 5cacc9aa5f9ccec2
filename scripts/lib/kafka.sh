# The jars of a real Kafka broker, which the demo and the tests run, and an archive of its classes,
# with which it starts in half the time; sourced by scripts/deps.

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

# The archive holds for one Java, one list of jars and one place of them.
classes_id() { printf '%s %s %s' "$kafka_id" "$deps" "$(java -version 2>&1 | tail -n 1)"; }

kafka_classes_what() { printf "an archive of Kafka's classes"; }
kafka_classes_plan() { printf "start Kafka once, to keep an archive of its classes in .deps/kafka: it starts in half the time then"; }
kafka_classes_tools() { :; }
kafka_classes_cached() { return 1; }
kafka_classes_ready() { [ "$(cat "$deps/kafka/classes.id" 2>/dev/null)" = "$(classes_id)" ]; }
kafka_classes_forget() { rm -f "$deps/kafka"/classes.*; }

free_port() {
  local port
  for _ in $(seq 100); do
    port=$((20000 + RANDOM % 10000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then printf '%d\n' "$port"; return 0; fi
  done
  return 1
}

# archive_classes FOLDER: of all that a broker loads until it is ready. The options are those of
# messaging/broker/embedded_broker.cpp.
archive_classes() {
  local folder=$1 port controller pid java
  port=$(free_port)
  controller=$(free_port)
  cat >"$folder/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$folder/data
PROPERTIES
  printf 'status=error\nappender.f.type=File\nappender.f.name=f\nappender.f.fileName=%s\nappender.f.layout.type=PatternLayout\nrootLogger.level=info\nrootLogger.appenderRef.f.ref=f\n' \
    "$folder/server.log" >"$folder/log4j2.properties"
  java=(java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData
    -Djava.awt.headless=true -Dlog4j2.configurationFile="$folder/log4j2.properties"
    -Djava.io.tmpdir="$folder" -cp "$deps/kafka/lib/*")
  "${java[@]}" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$folder/server.properties"
  "${java[@]}" -XX:ArchiveClassesAtExit="$folder/classes.jsa" kafka.Kafka "$folder/server.properties" &
  pid=$!
  # shellcheck disable=SC2064 # the process of now
  trap "kill -9 $pid 2>/dev/null || true" EXIT
  for _ in $(seq 600); do
    if grep -q 'Kafka Server started' "$folder/server.log" 2>/dev/null; then break; fi
    kill -0 "$pid"
    sleep 0.1
  done
  kill -TERM "$pid"
  wait "$pid" || true # 143: ended as it was asked to
  [ -s "$folder/classes.jsa" ]
}

# Without the archive all works as well: a failure is said, and is none.
kafka_classes_fetch() {
  local folder log=$cache/log/kafka-classes.log
  folder=$(scratch kafka-classes)
  printf "  Keeping an archive of Kafka's classes ... " >&2
  mkdir -p "$cache/log"
  set +e # an `if` around the subshell would switch off its `set -e`
  (set -euo pipefail; archive_classes "$folder") >"$log" 2>&1 </dev/null
  local rc=$?
  set -e
  rm -f "$deps/kafka/classes.jsa"
  if [ "$rc" = 0 ]; then
    mv "$folder/classes.jsa" "$deps/kafka/classes.jsa"
    say "done"
  else
    say "failed; Kafka starts as slowly as without it ($log)"
  fi
  classes_id >"$deps/kafka/classes.id"
  rm -rf "$folder"
}
