#include "supervision/symbolizer.hpp"

#include "base/file.hpp"

#include <gmock/gmock.h>

#include <sys/stat.h>

namespace ziyu::supervision {

/// Returns the address that its own return goes to.
[[gnu::noinline]] uint64_t where_am_i() {
  return reinterpret_cast<uint64_t>(__builtin_return_address(0));
}

namespace {

using ::testing::EndsWith;
using ::testing::IsEmpty;

std::vector<mapping> own_mappings() { return parse_maps(read_file("/proc/self/maps").value()); }

[[gnu::noinline]] uint64_t asker() {
  const auto x = where_am_i();
  asm volatile("" ::: "memory"); // no tail call
  return x;
}

TEST(Symbolizer, NamesAFunctionItsLibraryAndLine) {
  const auto address = asker();
  const auto answer = symbolizer{own_mappings()}.resolve({address});
  ASSERT_EQ(answer.size(), 1u);
  const auto& x = answer[0].back();
  EXPECT_EQ(short_name(x.function), "ziyu::supervision::(anonymous namespace)::asker");
  EXPECT_THAT(x.library, EndsWith("_tests"));
  EXPECT_THAT(x.file, EndsWith("tests/unit/supervision/symbolizer_test.cpp"));
  EXPECT_GT(x.line, 0u);
}

TEST(Symbolizer, NamesFunctionsOfSharedLibraries) {
  const auto inside = reinterpret_cast<uint64_t>(&::fgetc) + 2;
  const auto answer = symbolizer{own_mappings()}.resolve({inside});
  EXPECT_THAT(answer[0].back().library, ::testing::HasSubstr("libc.so"));
  EXPECT_THAT(answer[0].back().function, ::testing::AnyOf("fgetc", "getc", "_IO_getc"));
}

TEST(Symbolizer, AnswersEveryAddressInItsOrder) {
  const auto address = asker();
  const auto answer = symbolizer{own_mappings()}.resolve({1, address, 0, address, ~0ull});
  ASSERT_EQ(answer.size(), 5u);
  EXPECT_EQ(answer[0].back(), code_location{});
  EXPECT_EQ(answer[1], answer[3]);
  EXPECT_EQ(answer[2].back(), code_location{});
  EXPECT_EQ(answer[4].back(), code_location{});
}

TEST(Symbolizer, KeepsTheLibraryOfAFileThatItCannotRead) {
  const temp_dir folder;
  const auto path = [&](const char* name) { return (folder.path() / name).string(); };
  ASSERT_TRUE(write_file(path("text.so"), "no ELF file"));
  const auto own = read_file("/proc/self/exe").value();
  ASSERT_TRUE(write_file(path("cut.so"), own.substr(0, own.size() / 3)));
  ASSERT_TRUE(write_file(path("header.so"), own.substr(0, 40)));
  ASSERT_EQ(::mkfifo(path("pipe.so").c_str(), 0600), 0); // to open it must not block
  for (auto name :
       {"text.so", "cut.so", "header.so", "pipe.so", "missing.so", "gone.so (deleted)"}) {
    const auto answer = symbolizer{{{0x1000, 0x2000, 0, path(name)}}}.resolve({0x1800});
    EXPECT_EQ(answer[0].back().library, name);
    EXPECT_THAT(answer[0].back().file, IsEmpty());
  }
}

TEST(Symbolizer, SurvivesADamagedElfFile) {
  const temp_dir folder;
  const auto path = (folder.path() / "damaged.so").string();
  const auto own = read_file("/proc/self/exe").value();
  for (size_t seed = 1; seed <= 20; ++seed) {
    auto bytes = own;
    // The headers, the section table at the end, and places in between.
    for (size_t i = 0; i < 64; ++i)
      bytes[i % 2 == 0 ? (seed * 7919 * (i + 1)) % bytes.size()
                       : bytes.size() - 1 - seed * i % 4096] ^= static_cast<char>(seed * 31 + i);
    ASSERT_TRUE(write_file(path, bytes));
    const auto answer = symbolizer{{{0, bytes.size(), 0, path}}}.resolve(
      {bytes.size() / 2, bytes.size() / 3});
    EXPECT_EQ(answer.size(), 2u);
  }
}

TEST(Symbolizer, ShortensNames) {
  EXPECT_EQ(short_name("at::Tensor at::foo<int, long>(std::vector<int> const&)"), "at::foo");
  EXPECT_EQ(short_name("main"), "main");
  EXPECT_EQ(short_name("a::b::operator()(int) const"), "a::b::operator()");
  EXPECT_EQ(short_name("operator new(unsigned long)"), "operator new");
  EXPECT_EQ(short_name("a::operator<(b const&, b const&)"), "a::operator<");
  EXPECT_EQ(short_name("a::operator<<(b const&)"), "a::operator<<");
  EXPECT_EQ(short_name("(anonymous namespace)::f(int) [clone .isra.0]"),
            "(anonymous namespace)::f");
  EXPECT_EQ(short_name("void a::f<c>()::{lambda(int)#1}::operator()(int) const"),
            "a::f::{lambda}::operator()");
  EXPECT_EQ(short_name("std::__cxx11::to_string[abi:cxx11](int)"), "std::__cxx11::to_string");
  EXPECT_EQ(short_name("broken<(name"), "broken");
  EXPECT_EQ(short_name(""), "");
  for (auto name : {"at::foo", "a::f::{lambda}::operator()", "(anonymous namespace)::f"})
    EXPECT_EQ(short_name(name), name) << "what is short stays as it is";
}

} // namespace
} // namespace ziyu::supervision
