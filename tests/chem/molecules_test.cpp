#include "vierbein/chem/molecules.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace chem = vierbein::chem;
using strings = std::vector<std::string>;

namespace {

std::string reason(const std::string& smiles) {
  const auto set = chem::read_smiles(strings{smiles});
  return set.rejects.empty() ? "" : set.rejects[0].reason;
}

}  // namespace

TEST_CASE("read_smiles keeps what is a molecule, in order, and records the rest") {
  const auto set = chem::read_smiles(strings{"CCO", "C1CC", "c1ccccc1", "", "CC(C)(C)(C)C", "O"});
  REQUIRE(set.size() == 3);
  CHECK(set.kept == std::vector<vierbein::index_t>{0, 2, 5});
  CHECK(set[0].getNumAtoms() == 3);
  CHECK(set[1].getNumAtoms() == 6);
  CHECK(set[2].getNumAtoms() == 1);
  REQUIRE(set.rejects.size() == 3);
  CHECK(set.rejects[0].row == 1);
  CHECK(set.rejects[0].smiles == "C1CC");
  CHECK(set.rejects[1].row == 3);
  CHECK(set.rejects[2].row == 4);
}

TEST_CASE("the reason of a reject, on one line") {
  CHECK(reason("C1CC").find("unclosed ring") != std::string::npos);
  CHECK(reason("CC(C)(C)(C)C").find("valence") != std::string::npos);
  CHECK(reason("c1cccc1").find("kekulize") != std::string::npos);
  CHECK(reason("nota").find("syntax error") != std::string::npos);
  CHECK(reason("C C") == "text behind the SMILES");
  CHECK(reason("C\nC") == "text behind the SMILES");
  CHECK(reason(" CCO ").empty());
  CHECK(reason("CCO |$a;b;c$|").empty());
  CHECK(!reason("CCO |wrong|").empty());
  CHECK(reason("").find("empty") != std::string::npos);
  CHECK(reason("  ").find("empty") != std::string::npos);
  for (const char* smiles :
       {"C1CC", "CC(C)(C)(C)C", "c1cccc1", "xyz", "C(", "[C", "C.C)", "[Xx]"}) {
    CAPTURE(smiles);
    const std::string text = reason(smiles);
    CHECK(!text.empty());
    CHECK(text.find('\n') == std::string::npos);
    CHECK(!text.starts_with('['));
  }
}

TEST_CASE("hydrogens of all spellings are implicit") {
  const auto set = chem::read_smiles(strings{"[H]C([H])([H])[H]", "C"});
  REQUIRE(set.size() == 2);
  CHECK(set[0].getNumAtoms() == 1);
  CHECK(set[1].getNumAtoms() == 1);
}

TEST_CASE("nothing is logged, and RDKit's log is as before afterwards") {
  RDLog::InitLogs();
  const RDLogger logger = rdErrorLog;
  std::ostringstream captured;
  std::ostream* const destination = std::exchange(logger->dp_dest, &captured);
  const bool enabled = std::exchange(logger->df_enabled, true);
  const auto set = chem::read_smiles(strings{"CCO", "C1CC", "CC(C)(C)(C)C", "C/C=C/C"});
  CHECK(set.rejects.size() == 2);
  CHECK(captured.str().empty());
  CHECK(rdErrorLog == logger);
  CHECK(logger->df_enabled);
  CHECK(logger->dp_dest == &captured);
  logger->dp_dest = destination;
  logger->df_enabled = enabled;
}

TEST_CASE("no SMILES at all is an empty set") {
  const auto set = chem::read_smiles({});
  CHECK(set.size() == 0);
  CHECK(set.rejects.empty());
}

TEST_CASE("write_rejects writes a CSV file, rows counted from 1") {
  const std::filesystem::path path = std::filesystem::temp_directory_path() /
                                     ("vierbein-rejects-" + std::to_string(::getpid()) + ".csv");
  const std::vector<chem::reject> rejects{{0, "C,C", "no \"such\" thing"}, {6, "", "empty SMILES"}};
  chem::write_rejects(path, rejects);
  std::ifstream stream(path);
  const std::string content{std::istreambuf_iterator<char>(stream), {}};
  std::filesystem::remove(path);
  CHECK(content ==
        "row,smiles,reason\n"
        "1,\"C,C\",\"no \"\"such\"\" thing\"\n"
        "7,,empty SMILES\n");
}
