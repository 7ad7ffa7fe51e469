// Pictures as SVG text.
#pragma once

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

namespace examples {

/// Colours that the colour-blind can tell apart (Okabe and Ito 2008), the lightest left out.
inline constexpr std::array<std::string_view, 7> palette{"#0072B2", "#E69F00", "#009E73", "#CC79A7",
                                                         "#56B4E9", "#D55E00", "#5B5B5B"};

/// A text as it stands in XML. Control characters, which XML does not know, become blanks.
inline std::string xml_text(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      default: result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return result;
}

/// Collects shapes on a white background; lengths in pixels, y downwards.
class svg {
 public:
  svg(double width, double height) {
    add(R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0:.0f}" height="{1:.0f}" )"
        R"(viewBox="0 0 {0:.0f} {1:.0f}" font-family="Helvetica, Arial, 'Liberation Sans', )"
        R"('DejaVu Sans', sans-serif" font-size="13" fill="#222222">)",
        width, height);
    add(R"(<rect width="{:.0f}" height="{:.0f}" fill="#FFFFFF"/>)", width, height);
  }

  /// Appends a line of SVG.
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }

  void line(double x1, double y1, double x2, double y2, std::string_view style) {
    add(R"(<line x1="{:.2f}" y1="{:.2f}" x2="{:.2f}" y2="{:.2f}" {}/>)", x1, y1, x2, y2, style);
  }

  /// `style`: further attributes.
  void text(double x, double y, std::string_view words, std::string_view style = "") {
    add(R"(<text x="{:.2f}" y="{:.2f}" {}>{}</text>)", x, y, style, xml_text(words));
  }

  /// A circle that shows `words` when pointed at.
  void circle(double x, double y, double radius, std::string_view style,
              std::string_view words = "") {
    if (words.empty()) {
      add(R"(<circle cx="{:.2f}" cy="{:.2f}" r="{:.2f}" {}/>)", x, y, radius, style);
    } else {
      add(R"(<circle cx="{:.2f}" cy="{:.2f}" r="{:.2f}" {}><title>{}</title></circle>)", x, y,
          radius, style, xml_text(words));
    }
  }

  /// The whole picture.
  [[nodiscard]] std::string str() const { return text_ + "</svg>\n"; }

 private:
  std::string text_;
};

}  // namespace examples
