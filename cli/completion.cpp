#include "cli/completion.hpp"

#include "cli/command.hpp"

#include <cstdio>
#include <vector>

namespace ziyu::cli {

namespace {

struct flag {
  std::string name, text; ///< Name with its dashes.
  bool takes_value = false, is_file = false;
};

/// A command and the words that may follow it.
struct node {
  std::string path; ///< "ziyu dlq list"
  std::string text;
  std::vector<std::pair<std::string, std::string>> children; ///< Name and text.
  std::vector<flag> flags;
};

void collect(const CLI::App& app, const std::string& path, std::vector<node>& nodes) {
  node x;
  x.path = path;
  x.text = app.get_description();
  for (const auto* option : app.get_options()) {
    if (option->get_lnames().empty())
      continue;
    x.flags.push_back({"--" + option->get_lnames().front(), option->get_description(),
                       option->get_expected_max() > 0, option->get_type_name() == "FILE"});
  }
  const auto children = app.get_subcommands([](const CLI::App*) { return true; });
  for (const auto* child : children)
    x.children.emplace_back(child->get_name(), child->get_description());
  nodes.push_back(std::move(x));
  for (const auto* child : children)
    collect(*child, path + " " + child->get_name(), nodes);
}

/// All words that may follow, separated by spaces.
std::string words_of(const node& x) {
  std::string result;
  for (const auto& [name, text] : x.children)
    result += (result.empty() ? "" : " ") + name;
  for (const auto& f : x.flags)
    result += (result.empty() ? "" : " ") + f.name;
  return result;
}

std::string shell_quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text)
    result += c == '\'' ? std::string{"'\\''"} : std::string{c};
  return result + "'";
}

/// A case statement for both bash and zsh: the words after each path.
std::string cases(const std::vector<node>& nodes) {
  std::string result;
  for (const auto& x : nodes)
    result += "    " + shell_quoted(x.path) + ") offered=" + shell_quoted(words_of(x)) + " ;;\n";
  return result;
}

// Follows the words before the cursor while they name commands.
std::string walk(const std::vector<node>& nodes, const std::string& word_loop) {
  std::string known;
  for (const auto& x : nodes)
    known += (known.empty() ? "" : " | ") + shell_quoted(x.path);
  return "  local at=ziyu word\n  for word in " + word_loop
         + "; do\n    case \"$at $word\" in\n      " + known
         + ") at=\"$at $word\" ;;\n    esac\n  done\n";
}

std::string bash(const std::vector<node>& nodes) {
  return "# bash completion for ziyu; e.g., ziyu completion bash > /etc/bash_completion.d/ziyu\n"
         "_ziyu() {\n  local current=\"${COMP_WORDS[COMP_CWORD]}\" offered=\n"
         + walk(nodes, "\"${COMP_WORDS[@]:1:COMP_CWORD-1}\"") + "  case \"$at\" in\n" + cases(nodes)
         + "  esac\n"
           "  COMPREPLY=($(compgen -W \"$offered\" -- \"$current\"))\n"
           "  if [ ${#COMPREPLY[@]} -eq 0 ] && [ \"${current#-}\" = \"$current\" ]; then\n"
           "    COMPREPLY=($(compgen -f -- \"$current\"))\n"
           "  fi\n"
           "}\n"
           "complete -o filenames -F _ziyu ziyu\n";
}

std::string zsh(const std::vector<node>& nodes) {
  return "#compdef ziyu\n"
         "# zsh completion for ziyu; e.g., ziyu completion zsh > \"${fpath[1]}/_ziyu\"\n"
         "_ziyu_complete() {\n  local words_before=(\"${(@)words[2,CURRENT-1]}\")\n"
         + walk(nodes, "\"${words_before[@]}\"") + "  local offered\n  case \"$at\" in\n"
         + cases(nodes)
         + "  esac\n"
           "  compadd -- ${=offered}\n"
           "  _files\n"
           "}\n"
           // As an autoloaded function of fpath it is called at once for a completion.
           "if [ \"${funcstack[1]}\" = _ziyu ]; then\n"
           "  _ziyu_complete\n"
           "else\n"
           "  compdef _ziyu_complete ziyu\n"
           "fi\n";
}

std::string fish(const std::vector<node>& nodes) {
  std::string result = "# fish completion for ziyu; e.g., ziyu completion fish > "
                       "~/.config/fish/completions/ziyu.fish\n";
  for (const auto& x : nodes) {
    // "ziyu dlq list": all of its words have been typed, and none of its children.
    std::string condition;
    for (size_t at = x.path.find(' '); at != x.path.npos;) {
      const auto next = x.path.find(' ', at + 1);
      condition += (condition.empty() ? "" : "; and ") + std::string{"__fish_seen_subcommand_from "}
                   + x.path.substr(at + 1, next == x.path.npos ? next : next - at - 1);
      at = next;
    }
    std::string children;
    for (const auto& [name, text] : x.children)
      children += " " + name;
    if (condition.empty())
      condition = "__fish_use_subcommand";
    else if (!children.empty())
      condition += "; and not __fish_seen_subcommand_from" + children;
    const auto start = "complete -c ziyu -n " + shell_quoted(condition);
    for (const auto& [name, text] : x.children)
      result += start + " -f -a " + name + " -d " + shell_quoted(text) + "\n";
    for (const auto& f : x.flags)
      result += start + " -l " + f.name.substr(2) + (f.takes_value ? " -r" : "")
                + (f.is_file || !f.takes_value ? "" : " -f") + " -d " + shell_quoted(f.text) + "\n";
  }
  return result;
}

} // namespace

std::string completion_script(const CLI::App& app, shell x) {
  std::vector<node> nodes;
  collect(app, app.get_name(), nodes);
  return x == shell::bash ? bash(nodes) : x == shell::zsh ? zsh(nodes) : fish(nodes);
}

void add_completion_command(CLI::App& app, int& exit_code) {
  auto* group = app.add_subcommand("completion", "Print a completion script for a shell");
  group->require_subcommand(1);
  static constexpr auto exit_codes = "Exit codes: 0 done, 2 wrong usage.";
  group->footer(std::string{exit_codes} + "\nExample: source <(ziyu completion bash)");
  for (const auto& [name, x] :
       {std::pair{"bash", shell::bash}, {"zsh", shell::zsh}, {"fish", shell::fish}}) {
    auto* command = group->add_subcommand(name, std::string{"For "} + name);
    command->footer(exit_codes);
    command->callback([&app, &exit_code, kind = x] {
      std::fputs(completion_script(app, kind).c_str(), stdout);
      exit_code = exit_ok;
    });
  }
}

} // namespace ziyu::cli
