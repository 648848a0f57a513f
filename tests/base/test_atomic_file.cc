// Files that appear whole or not at all, with the permissions that they had.
#include "base/atomic_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/input_file.h"
#include "e2enet/error.h"
#include "support/temporary_folder.h"

namespace {

namespace fs = std::filesystem;
using e2enet::AtomicFile;
using e2enet::test::TemporaryFolder;

void write_whole(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

void write_plain(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

std::string content(const std::string& path) { return e2enet::read_text_file(path); }

mode_t mode_of(const std::string& path) {
  struct stat status {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

std::size_t files_in(const std::string& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

class Umask {
 public:
  explicit Umask(mode_t mask) : before_(umask(mask)) {}
  ~Umask() { umask(before_); }

 private:
  mode_t before_;
};

TEST_CASE("a file has its name when it is complete, and nothing is left of one that is given up") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a");
  write_plain(path, "before");
  {
    AtomicFile file(path);
    file.write("after", 5);
    CHECK(content(path) == "before");
    CHECK(files_in(folder.path()) == 2);
  }
  CHECK(content(path) == "before");
  CHECK(files_in(folder.path()) == 1);
  AtomicFile first(path);
  first.write("after", 5);
  AtomicFile moved(std::move(first));
  moved.commit();
  CHECK(content(path) == "after");
  CHECK(files_in(folder.path()) == 1);
  CHECK_THROWS_AS(AtomicFile(folder.path()), e2enet::Error);
  CHECK_THROWS_AS(AtomicFile(folder.file("nowhere/a")), e2enet::Error);
}

TEST_CASE("an unfinished file is locked for as long as its writer has it, which tells it from a dead one's") {
  const TemporaryFolder folder;
  const auto unfinished_is_locked = [&] {
    for (const auto& entry : fs::directory_iterator(folder.path())) {
      if (entry.path().extension() != ".partial") continue;
      const int other = open(entry.path().c_str(), O_RDWR | O_CLOEXEC);
      REQUIRE(other >= 0);
      const bool locked = flock(other, LOCK_EX | LOCK_NB) != 0;
      close(other);
      return locked;
    }
    FAIL("no unfinished file");
    return false;
  };
  AtomicFile file(folder.file("a"));
  CHECK(unfinished_is_locked());
  AtomicFile moved(std::move(file));
  CHECK(unfinished_is_locked());
  moved.commit();
  // A writer that is gone.
  write_plain(folder.file(".b.1-0.partial"), "half");
  CHECK_FALSE(unfinished_is_locked());
}

TEST_CASE("a file that is replaced keeps its permissions, a new one has what the umask leaves") {
  const TemporaryFolder folder;
  const Umask umask(022);
  write_whole(folder.file("new"), "x");
  CHECK(mode_of(folder.file("new")) == 0644);
  for (const mode_t mode : {0600, 0640, 0666, 0444, 0755}) {
    CAPTURE(mode);
    const std::string path = folder.file("old" + std::to_string(mode));
    write_plain(path, "before");
    REQUIRE(chmod(path.c_str(), mode) == 0);
    AtomicFile file(path);
    file.write("after", 5);
    // Nor may others read it while it is written.
    for (const auto& entry : fs::directory_iterator(folder.path())) {
      if (entry.path().extension() == ".partial") CHECK((mode_of(entry.path().string()) & 077) == 0);
    }
    file.commit();
    CHECK(content(path) == "after");
    CHECK(mode_of(path) == mode);
  }
  const Umask strict(077);
  write_whole(folder.file("private"), "x");
  CHECK(mode_of(folder.file("private")) == 0600);
}

TEST_CASE("a file that the superuser replaces keeps its owner and group") {
  if (geteuid() != 0) {
    MESSAGE("skipped: only the superuser can give files away");
    return;
  }
  const TemporaryFolder folder;
  const std::string path = folder.file("theirs");
  write_plain(path, "before");
  REQUIRE(chmod(path.c_str(), 0640) == 0);
  REQUIRE(chown(path.c_str(), 12345, 23456) == 0);
  write_whole(path, "after");
  struct stat status {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  CHECK(status.st_uid == 12345);
  CHECK(status.st_gid == 23456);
  CHECK((status.st_mode & 0777) == 0640);
}

TEST_CASE("links: a symbolic one stays and what it leads to is written, a hard one is cut off") {
  const TemporaryFolder folder;
  fs::create_directory(folder.file("there"));
  write_plain(folder.file("there/target"), "before");
  fs::create_symlink("there/target", folder.file("link"));
  fs::create_symlink("link", folder.file("link to link"));
  write_whole(folder.file("link to link"), "through links");
  CHECK(content(folder.file("there/target")) == "through links");
  CHECK(fs::is_symlink(folder.file("link")));
  CHECK(fs::is_symlink(folder.file("link to link")));

  fs::create_symlink("there/not yet", folder.file("ahead"));
  write_whole(folder.file("ahead"), "made");
  CHECK(fs::is_symlink(folder.file("ahead")));
  CHECK(content(folder.file("there/not yet")) == "made");

  write_plain(folder.file("one"), "before");
  fs::create_hard_link(folder.file("one"), folder.file("two"));
  write_whole(folder.file("two"), "after");
  CHECK(content(folder.file("one")) == "before");
  CHECK(content(folder.file("two")) == "after");
}

TEST_CASE("the file behind a name is one, whatever path leads to it") {
  const TemporaryFolder folder;
  fs::create_directory(folder.file("real"));
  fs::create_directory_symlink("real", folder.file("also"));
  fs::create_symlink("real/file", folder.file("link"));
  fs::create_symlink("loop", folder.file("loop"));
  const std::string file = e2enet::file_behind(folder.file("real/file"));
  CHECK(e2enet::file_behind(folder.file("also/file")) == file);
  CHECK(e2enet::file_behind(folder.file("also/../real/./file")) == file);
  CHECK(e2enet::file_behind(folder.file("link")) == file);
  CHECK(e2enet::file_behind(folder.file("real/File")) != file);
  CHECK(e2enet::file_behind(folder.file("no/such/folder/file")) ==
        e2enet::file_behind(folder.file("no/x/../such/folder/file")));
  CHECK_FALSE(e2enet::file_behind(folder.file("loop")).empty());
  CHECK_THROWS_AS(AtomicFile(folder.file("loop/a")), e2enet::Error);
}

TEST_CASE("only regular files are opened for reading, and nothing waits for a pipe") {
  const TemporaryFolder folder;
  REQUIRE(mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  for (const std::string& path :
       {folder.file("pipe"), folder.path(), folder.file("missing"), std::string("/dev/null")}) {
    CAPTURE(path);
    CHECK_THROWS_AS(e2enet::read_text_file(path), e2enet::Error);
    CHECK_THROWS_AS(e2enet::require_regular_file(path), e2enet::Error);
  }
  write_plain(folder.file("text"), std::string(100000, 'x'));
  fs::create_symlink("text", folder.file("link"));
  CHECK(content(folder.file("link")) == std::string(100000, 'x'));
}

}  // namespace
