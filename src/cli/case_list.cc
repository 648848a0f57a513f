#include "cli/case_list.h"

#include <filesystem>
#include <set>

#include "cli/text.h"
#include "e2enet/error.h"
#include "e2enet/files.h"

namespace e2enet::cli {
namespace {

namespace fs = std::filesystem;

struct Row {
  int line = 0;
  std::vector<std::string> fields;
};

[[noreturn]] void fail(const std::string& path, int line, const std::string& what) {
  throw Error(ErrorCode::invalid_image, path + ": line " + std::to_string(line) + ": " + what);
}

// RFC 4180: a quoted field may hold separators, ends of lines and doubled quotes.
std::vector<Row> rows_of(const std::string& path, const std::string& text, char separator) {
  std::vector<Row> rows;
  int line = 1;
  std::size_t at = 0;
  while (at < text.size()) {
    Row row;
    row.line = line;
    for (bool more = true; more;) {
      std::string field;
      if (at < text.size() && text[at] == '"') {
        for (++at;; ++at) {
          if (at == text.size()) fail(path, row.line, "expected a closing quote, found the end of the file");
          if (text[at] == '\n') ++line;
          if (text[at] != '"') {
            field += text[at];
          } else if (at + 1 < text.size() && text[at + 1] == '"') {
            field += text[++at];
          } else {
            ++at;
            break;
          }
        }
      }
      while (at < text.size() && text[at] != separator && text[at] != '\n') field += text[at++];
      if (!field.empty() && field.back() == '\r') field.pop_back();
      row.fields.push_back(std::move(field));
      more = at < text.size() && text[at] == separator;
      if (at < text.size()) ++at;
    }
    ++line;
    if (row.fields.size() > 1 || !row.fields[0].empty()) rows.push_back(std::move(row));
  }
  return rows;
}

// A name becomes files below the output folder, and must not lead out of it.
std::string problem_of_name(const std::string& name) {
  if (name.empty()) return "nothing";
  const fs::path parts(name);
  bool inside = !parts.is_absolute() && name.back() != '/' && one_line(name) == name;
  for (const fs::path& part : parts) inside = inside && part != ".." && part != ".";
  return inside ? "" : "'" + one_line(name) + "'";
}

}  // namespace

std::vector<ListedCase> read_case_list(const std::string& path) {
  std::string text = read_text_file(path);
  if (text.compare(0, 3, "\xEF\xBB\xBF") == 0) text.erase(0, 3);  // as spreadsheets write it
  const std::string head = text.substr(0, text.find('\n'));
  const std::vector<Row> rows = rows_of(path, text, head.find('\t') != std::string::npos ? '\t' : ',');
  if (rows.empty()) throw Error(ErrorCode::invalid_image, path + ": expected a first line 'case,image', found nothing");
  int case_column = -1, series_column = -1;
  std::vector<std::size_t> image_columns;
  for (std::size_t column = 0; column < rows[0].fields.size(); ++column) {
    const std::string& name = rows[0].fields[column];
    if (name == "case" && case_column < 0) {
      case_column = static_cast<int>(column);
    } else if (name == "series" && series_column < 0) {
      series_column = static_cast<int>(column);
    } else if (name.compare(0, 5, "image") == 0) {
      image_columns.push_back(column);
    } else {
      fail(
          path, rows[0].line,
          "expected the columns 'case', 'image' (one a channel: image, image2, ...) and, if wanted, 'series', found '" +
              one_line(name) + "'");
    }
  }
  if (case_column < 0 || image_columns.empty()) {
    fail(path, rows[0].line, "expected the columns 'case' and 'image', found '" + one_line(head) + "'");
  }
  const fs::path folder = fs::path(path).parent_path();
  std::vector<ListedCase> cases;
  std::set<std::string> names;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const Row& row = rows[i];
    if (row.fields.size() != rows[0].fields.size()) {
      fail(path, row.line,
           "expected " + std::to_string(rows[0].fields.size()) + " fields, found " + std::to_string(row.fields.size()));
    }
    ListedCase one;
    one.name = row.fields[static_cast<std::size_t>(case_column)];
    const std::string problem = problem_of_name(one.name);
    if (!problem.empty()) {
      fail(path, row.line, "case: expected a name that is a path below the output folder, found " + problem);
    }
    if (!names.insert(one.name).second)
      fail(path, row.line, "case: expected each once, found '" + one.name + "' again");
    for (const std::size_t column : image_columns) {
      const std::string& image = row.fields[column];
      if (!image.empty()) one.images.push_back((folder / image).string());  // a channel that is not there
    }
    if (series_column >= 0) one.series = row.fields[static_cast<std::size_t>(series_column)];
    cases.push_back(std::move(one));
  }
  if (cases.empty()) throw Error(ErrorCode::invalid_image, path + ": expected cases, found none");
  return cases;
}

}  // namespace e2enet::cli
