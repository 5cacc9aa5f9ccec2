#include "supervision/symbolizer.hpp"

#include "base/descriptor.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include <cxxabi.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ziyu::supervision {

namespace {

/// An ELF file that was opened for reading.
class elf_file {
public:
  explicit elf_file(const std::string& path) {
    ::elf_version(EV_CURRENT);
    // Never a pipe or a device, whatever the path says.
    fd_ = unique_fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    struct stat status {};
    if (!fd_ || ::fstat(fd_.get(), &status) != 0 || !S_ISREG(status.st_mode))
      return;
    elf_.reset(::elf_begin(fd_.get(), ELF_C_READ_MMAP, nullptr));
    if (elf_ && ::elf_kind(elf_.get()) != ELF_K_ELF)
      elf_.reset();
  }
  Elf* get() const { return elf_.get(); }
  explicit operator bool() const { return elf_ != nullptr; }

  /// The section of a type, or null.
  Elf_Scn* section(uint32_t type) const {
    for (Elf_Scn* x = nullptr; (x = ::elf_nextscn(elf_.get(), x)) != nullptr;) {
      GElf_Shdr header;
      if (::gelf_getshdr(x, &header) != nullptr && header.sh_type == type)
        return x;
    }
    return nullptr;
  }

  /// Where the debug file of this file would lie; empty without a build id.
  std::string debug_path() const {
    const void* id = nullptr;
    const auto size = ::dwelf_elf_gnu_build_id(elf_.get(), &id);
    if (size < 2)
      return {};
    std::string hex;
    for (ssize_t i = 0; i < size; ++i) {
      constexpr char digits[] = "0123456789abcdef";
      const auto byte = static_cast<const unsigned char*>(id)[i];
      hex += {digits[byte >> 4], digits[byte & 15]};
    }
    return "/usr/lib/debug/.build-id/" + hex.substr(0, 2) + "/" + hex.substr(2) + ".debug";
  }

private:
  struct closer {
    void operator()(Elf* x) const { ::elf_end(x); }
  };
  unique_fd fd_;
  std::unique_ptr<Elf, closer> elf_;
};

/// The address that the ELF file itself gives to the byte at `offset`; 0: none.
uint64_t to_virtual(Elf* elf, uint64_t offset) {
  size_t count = 0;
  ::elf_getphdrnum(elf, &count);
  for (size_t i = 0; i < count; ++i) {
    GElf_Phdr header;
    if (::gelf_getphdr(elf, static_cast<int>(i), &header) != nullptr && header.p_type == PT_LOAD
        && offset >= header.p_offset && offset - header.p_offset < header.p_filesz)
      return offset - header.p_offset + header.p_vaddr;
  }
  return 0;
}

/// One address to resolve, as an address of its file.
struct question {
  uint64_t address = 0;
  size_t index = 0; ///< Into the answers.
  uint64_t best_begin = 0;
  const char* symbol = nullptr;
};

/// Finds, for each question, the innermost function of the table around its address.
void read_symbols(const elf_file& file, std::vector<question>& sorted) {
  for (auto type : {SHT_SYMTAB, SHT_DYNSYM}) {
    const auto section = file.section(type);
    GElf_Shdr header;
    if (section == nullptr || ::gelf_getshdr(section, &header) == nullptr || header.sh_entsize == 0)
      continue;
    const auto data = ::elf_getdata(section, nullptr);
    if (data == nullptr)
      continue;
    const auto count = data->d_size / header.sh_entsize;
    for (size_t i = 0; i < count; ++i) {
      GElf_Sym symbol;
      if (::gelf_getsym(data, static_cast<int>(i), &symbol) == nullptr)
        break;
      const auto kind = GELF_ST_TYPE(symbol.st_info);
      if ((kind != STT_FUNC && kind != STT_GNU_IFUNC) || symbol.st_size == 0
          || symbol.st_shndx == SHN_UNDEF)
        continue;
      const auto first = std::lower_bound(
        sorted.begin(), sorted.end(), symbol.st_value,
        [](const question& q, uint64_t address) { return q.address < address; });
      for (auto q = first; q != sorted.end() && q->address - symbol.st_value < symbol.st_size; ++q)
        if (q->symbol == nullptr || symbol.st_value > q->best_begin) {
          q->symbol = ::elf_strptr(file.get(), header.sh_link, symbol.st_name);
          q->best_begin = symbol.st_value;
        }
    }
    return; // .dynsym is a part of .symtab
  }
}

std::string name_of(Dwarf_Die* die) {
  Dwarf_Attribute attribute;
  for (auto kind : {DW_AT_linkage_name, DW_AT_MIPS_linkage_name})
    if (auto found = ::dwarf_attr_integrate(die, static_cast<unsigned>(kind), &attribute))
      if (auto text = ::dwarf_formstring(found))
        return demangle(text);
  const auto text = ::dwarf_diename(die);
  return text == nullptr ? std::string{} : text;
}

/// A readable path: without the relative part that leads out of the build folder.
std::string tidy(std::string_view path) {
  while (path.starts_with("../") || path.starts_with("./"))
    path.remove_prefix(path.find('/') + 1);
  return std::string{path};
}

/// From the inlining of `die` the place that it was inlined into.
void read_call_site(Dwarf_Die* unit, Dwarf_Die* die, code_location& x) {
  Dwarf_Attribute attribute;
  Dwarf_Word file = 0, line = 0;
  Dwarf_Files* files = nullptr;
  size_t count = 0;
  if (auto found = ::dwarf_attr(die, DW_AT_call_line, &attribute))
    if (::dwarf_formudata(found, &line) == 0)
      x.line = static_cast<uint32_t>(line);
  if (auto found = ::dwarf_attr(die, DW_AT_call_file, &attribute))
    if (::dwarf_formudata(found, &file) == 0 && ::dwarf_getsrcfiles(unit, &files, &count) == 0
        && file < count)
      if (auto path = ::dwarf_filesrc(files, file, nullptr, nullptr))
        x.file = tidy(path);
}

/// Adds lines and inlined functions to `answer`, which holds the function.
void read_lines(Dwarf* dwarf, uint64_t address, std::vector<code_location>& answer) {
  Dwarf_Die unit;
  if (::dwarf_addrdie(dwarf, address, &unit) == nullptr)
    return;
  code_location here = answer.back();
  if (auto line = ::dwarf_getsrc_die(&unit, address)) {
    auto number = 0;
    ::dwarf_lineno(line, &number);
    here.line = static_cast<uint32_t>(number);
    if (auto path = ::dwarf_linesrc(line, nullptr, nullptr))
      here.file = tidy(path);
  }
  std::vector<code_location> result;
  Dwarf_Die* scopes = nullptr;
  const auto count = ::dwarf_getscopes(&unit, address, &scopes);
  for (auto i = 0; i < count; ++i) {
    const auto tag = ::dwarf_tag(&scopes[i]);
    if (tag == DW_TAG_subprogram)
      break;
    if (tag != DW_TAG_inlined_subroutine)
      continue;
    auto inlined = here;
    inlined.function = name_of(&scopes[i]);
    result.push_back(std::move(inlined));
    read_call_site(&unit, &scopes[i], here);
  }
  std::free(scopes);
  result.push_back(std::move(here));
  answer = std::move(result);
}

struct dwarf_closer {
  void operator()(Dwarf* x) const { ::dwarf_end(x); }
};

void resolve_in_file(const std::string& path, std::vector<question>& questions,
                     std::vector<std::vector<code_location>>& answers) {
  const elf_file file{path};
  if (!file)
    return;
  for (auto& q : questions)
    q.address = to_virtual(file.get(), q.address);
  std::sort(questions.begin(), questions.end(),
            [](const question& a, const question& b) { return a.address < b.address; });
  read_symbols(file, questions);
  const auto debug_path = file.debug_path();
  const elf_file debug{debug_path.empty() ? path : debug_path};
  if (debug && !debug_path.empty())
    read_symbols(debug, questions);
  for (const auto& q : questions)
    if (q.symbol != nullptr)
      answers[q.index].back().function = demangle(q.symbol);
  for (auto source : {debug ? debug.get() : nullptr, file.get()}) {
    if (source == nullptr)
      continue;
    const std::unique_ptr<Dwarf, dwarf_closer> dwarf{
      ::dwarf_begin_elf(source, DWARF_C_READ, nullptr)};
    if (!dwarf)
      continue;
    for (const auto& q : questions)
      if (q.address != 0)
        read_lines(dwarf.get(), q.address, answers[q.index]);
    break;
  }
}

/// Where the bracket that closes the one at `from` stands; npos: nowhere.
size_t closing(std::string_view text, size_t from) {
  const auto open = text[from], close = open == '(' ? ')' : '>';
  auto depth = 0;
  for (auto i = from; i < text.size(); ++i) {
    if (text[i] == open)
      ++depth;
    else if (text[i] == close && (i == 0 || text[i - 1] != '-') && --depth == 0)
      return i;
  }
  return std::string_view::npos;
}

} // namespace

symbolizer::symbolizer(std::vector<mapping> mappings) : mappings_(std::move(mappings)) {
  std::sort(mappings_.begin(), mappings_.end(),
            [](const mapping& a, const mapping& b) { return a.begin < b.begin; });
}

std::vector<std::vector<code_location>> symbolizer::resolve(
  const std::vector<uint64_t>& addresses) const {
  std::vector<std::vector<code_location>> answers(addresses.size());
  std::map<std::string, std::vector<question>> files;
  for (size_t i = 0; i < addresses.size(); ++i) {
    answers[i].emplace_back();
    // The call itself lies before the address that it returns to.
    const auto address = addresses[i] == 0 ? 0 : addresses[i] - 1;
    const auto above = std::upper_bound(mappings_.begin(), mappings_.end(), address,
                                        [](uint64_t x, const mapping& m) { return x < m.begin; });
    if (above == mappings_.begin())
      continue;
    const auto found = std::prev(above);
    if (address >= found->end)
      continue;
    answers[i].back().library = found->path.substr(found->path.rfind('/') + 1);
    files[found->path].push_back({address - found->begin + found->offset, i, 0, nullptr});
  }
  for (auto& [path, questions] : files)
    resolve_in_file(path, questions, answers);
  return answers;
}

std::string demangle(const char* symbol) {
  auto status = 0;
  const std::unique_ptr<char, void (*)(void*)> text{
    abi::__cxa_demangle(symbol, nullptr, nullptr, &status), std::free};
  return status == 0 && text ? text.get() : symbol;
}

std::string short_name(std::string_view function) {
  std::string result;
  for (size_t i = 0; i < function.size(); ++i) {
    const auto rest = function.substr(i);
    if (rest.starts_with("operator")
        && (i == 0 || function[i - 1] == ':' || function[i - 1] == ' ')) {
      // An operator's own name may contain brackets.
      auto end = rest.find_first_of("(<", 8);
      if (rest.starts_with("operator()"))
        end = 10;
      else if (end == 8 && rest[8] == '<')
        end = rest.find_first_not_of("<=>", 8);
      end = std::min(end, rest.size());
      result += rest.substr(0, end);
      i += end - 1;
    } else if (rest.starts_with("(anonymous namespace)")) {
      result += "(anonymous namespace)";
      i += 20;
    } else if (rest.starts_with("[abi:")) {
      i += std::min(rest.find(']'), rest.size() - 1);
    } else if (function[i] == '{') { // {lambda(...)#1}
      const auto end = rest.find('}');
      result += "{lambda}";
      i += end == std::string_view::npos ? rest.size() - 1 : end;
    } else if (function[i] == '<' || function[i] == '(') {
      const auto end = closing(function, i);
      if (end == std::string_view::npos)
        return result;
      // Parameters end the name, unless it goes on: "f(int)::{lambda()#1}".
      i = end;
    } else if (function[i] == ' ') {
      // Behind the parameters (const, [clone ...]) there is no part of the name. What came before
      // the name was its type.
      if (i > 0 && function[i - 1] == ')')
        return result;
      result.clear();
    } else {
      result += function[i];
    }
  }
  return result;
}

} // namespace ziyu::supervision
