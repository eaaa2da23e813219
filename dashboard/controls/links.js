// Takes plain clicks on links to pages of this program: the session opens the page, with its filters.
// A click with another button or a modifier key is the browser's, and so is a link to anywhere else.
export default function ({ data, setTriggerValue }) {
  const take = (event) => {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest?.('[data-testid="stHtml"] a[href]');
    if (!link) return;
    const address = new URL(link.href);
    const page = address.pathname.split("/").pop();
    if (address.origin !== window.location.origin || !data.pages.includes(page)) return;
    event.preventDefault();
    setTriggerValue("followed", { page, query: Object.fromEntries(address.searchParams) });
  };
  document.addEventListener("click", take);
  return () => document.removeEventListener("click", take);
}
